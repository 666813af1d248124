LINES: int

def plain_arguments(env: str) -> list[str] | None:
    """See `rater.switch.gate.gate_arguments`; None also for what wants a closer look."""

def question_hash(stamp: str, env: str) -> int:
    """See `rater.switch.gate.question_hash`."""
