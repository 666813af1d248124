"""How a site's processes share the machine: which cores they run on, and their priority beside its other work."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

GIVES_WAY = 7
"""By so many steps of niceness: a fifth of the other's share when both want the core."""


@dataclass(frozen=True, slots=True)
class Machine:
    """`priority`: niceness, -20 to 19; 0 leaves it as it is, less needs root. `own_cores`: daemons share no core
    with the others. Left to itself the scheduler often wakes Redis and the load on the daemon's core, where what
    they are to read was written, and lets another core rest; the daemon then waits in the middle of its work."""

    priority: int = 0
    own_cores: bool = True

    def arrange(self, daemons: Iterable[int], stores: Iterable[int], load: int) -> None:
        """Of processes that are sessions of their own, by pid, with all their threads. The load, which stands for
        other machines, gives way to Redis, beside which it runs."""
        cores = sorted(os.sched_getaffinity(0))
        half = len(cores) // 2
        placed = [(pid, {cores[number % half]} if half else set(cores)) for number, pid in enumerate(daemons)]
        placed += [(pid, set(cores[half:])) for pid in (*stores, load)]
        for pid, own in placed:
            if self.own_cores:
                for thread in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setaffinity(int(thread.name), own)
            niceness = self.priority + (GIVES_WAY if pid == load else 0)
            if niceness:
                _prefer(pid, min(niceness, 19))


def _prefer(pid: int, niceness: int) -> None:
    """By its group, too, where the kernel shares by groups."""
    os.setpriority(os.PRIO_PROCESS, pid, niceness)
    group = Path(f"/proc/{pid}/autogroup")
    if group.exists():
        group.write_text(str(niceness))
