"""One seed from the outside, on the server that it is played on. For worker processes, too."""

from __future__ import annotations

import os
from functools import partial
from itertools import count

from rater.logs import set_up_logs

from .plants import plant
from .servers import MemoryServer, RedisServer, Server
from .virtual import VirtualTime
from .world import Result, simulate

_PREFIXES = count(1)


def server_for(port: int | None, clock: VirtualTime) -> Server:
    if port is None:
        return MemoryServer(clock)
    return RedisServer(clock, port, f"s{os.getpid()}.{next(_PREFIXES)}")


def play(port: int | None, seed: int) -> Result:
    set_up_logs("critical", json_lines=False)
    plant(os.environ.get("RATER_PLANT", ""))
    return simulate(seed, partial(server_for, port))
