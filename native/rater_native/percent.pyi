LINES: int

def plain_arguments(env: str) -> list[str] | None:
    """See `rater.switch.gate.gate_arguments`; None also for what wants a closer look."""
