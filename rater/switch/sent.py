"""Actions of the hot path, as they are made, and those that are not answered. The readable twins of what
`rater_native.actionbytes` has; `rater.switch.frames` picks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

Shape = tuple[str, ...]
"""What an action does, and the names of its headers behind its id."""


def shape(action: str, names: Iterable[str]) -> Shape:
    return (action, *names)


def made(
    shape: Shape, prefix: str, number: int, first: str, second: str | None = None, third: str | None = None
) -> dict[str, str]:
    """An action of that shape, with the id ``PREFIX-NUMBER``, and as many values as it has headers of its own."""
    values = [value for value in (first, second, third) if value is not None]
    return {
        "Action": shape[0],
        "ActionID": f"{prefix}-{number}",
        **dict(zip(shape[1:], values, strict=True)),
    }


def seconds_of(ms: int) -> str:
    """Milliseconds, 0 or more, as seconds of three decimal places. Raises ValueError for fewer."""
    if ms < 0:
        raise ValueError(f"{ms} ms are no span")
    return f"{ms // 1000}.{ms % 1000:03d}"


class Sent(dict[str, tuple[int, str]]):
    """When each action was sent that is not answered, and which one it is, by its id."""

    def put(self, actions: Sequence[Mapping[str, str]], now_ns: int) -> None:
        """They are sent now, monotonic time."""
        for action in actions:
            self[action["ActionID"]] = (now_ns, action["Action"])

    def overdue(self, before_ns: int) -> list[str]:
        """Takes out those that were sent before; what they were."""
        names = [name for name, (sent_ns, _) in self.items() if sent_ns < before_ns]
        return [self.pop(name)[1] for name in names]
