"""One command under way over a pipelined connection."""

from __future__ import annotations

from collections import deque

from rater.charging.model import Request
from rater.charging.store import Done
from rater.ids import LegId

ROWS = 256
"""Accounts by the hash of their id; what is of no leg is in the first. So many that few wait for what does not
concern them, so few that nothing need be kept of accounts."""


class Call:
    """`data`: as it is written; `sent_s`: when it last was, monotonic; `shard`: whose keys it names, where that
    decides which server it goes to. `row`: those of a row are carried out in the order in which they were queued.
    `lane`: the number of the connection that it last went over."""

    __slots__ = ("data", "lane", "row", "sent_s", "shard")

    def __init__(self, data: bytes, shard: int = 0, row: int = 0) -> None:
        self.data = data
        self.shard = shard
        self.row = row
        self.lane = 0
        self.sent_s = 0.0


class Operation(Call):
    """A request to charging, until it is answered. `leg`: whose operations go one after the other; None when it
    is of none."""

    __slots__ = (
        "alone", "as_function", "done", "leg", "needs", "refunded_micro", "request", "routed", "script", "tries",
        "waiting", "waits",
    )  # fmt: skip

    def __init__(self, request: Request, done: Done, leg: LegId | None, shard: int, row: int = 0) -> None:
        self.data = b""
        self.shard = shard
        self.row = row
        self.lane = 0
        self.sent_s = 0.0
        self.leg = leg
        self.request = request
        self.routed = request
        """As it is sent: to where the account lives."""
        self.refunded_micro: int | None = None
        """Of a posting, what the account's homes before know; None before they were asked."""
        self.done = done
        self.script = ""
        self.as_function = False
        self.needs = b""
        self.waiting: deque[Operation] | None = None
        """Those of the leg that are sent after it, one after the other."""
        self.tries = 0
        self.waits = 0
        self.alone = False
        """The owner of its account's group lives elsewhere: it does not serve it this time."""
