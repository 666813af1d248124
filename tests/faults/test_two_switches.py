"""One daemon, two switches: whatever befalls the one, calls of the other are decided as ever."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.protocol import ManagerUser
from rater.switch.simulator.switch import Extension, Gateway, SimulatedSwitch
from tests.faults.proxy import proxy
from tests.faults.support import SECRET, Daemon, Site, environment, measured, play, start_daemon
from tests.servers import free_port

CALLS, RING_S, TALK_S = 5, 0.1, 0.3


async def _most_late_s(here: Site) -> float:
    """Some calls one after the other, all decided; by how much the slowest was later than it had to be."""
    late = 0.0
    for _ in range(CALLS):
        start_s = time.monotonic()
        call = here.call(TALK_S, ring_s=RING_S)
        await here.over(call)
        assert call.talked_s > 0
        late = max(late, time.monotonic() - start_s - RING_S - TALK_S)
    return late


def test_1_no_call_of_a_healthy_switch_is_hindered_by_another_ones_fault(tmp_path: Path) -> None:
    """The other one falls silent, is cut off again and again, is gone."""

    async def case(here: Site) -> None:
        other = SimulatedSwitch(
            users=[ManagerUser("rater", SECRET)], extensions=[Extension("1001")], gateways=[Gateway("carrier")],
            gating=Gating.OUTBOUND,
        )  # fmt: skip
        await other.start()
        async with proxy(other.port) as between:
            config, log, port = here.folder / "two.toml", here.folder / "two.log", free_port()
            switches = "".join(
                f"[[switch]]\nid = '{name}'\nport = {at}\nsecret = {{ env = 'TEST_AMI_SECRET' }}\nfail = 'closed'\n"
                for name, at in (("pbx1", here.switch.port), ("pbx2", between.port))
            )
            config.write_text(f"[redis]\nurl = '{here.redis.url}'\n[metrics]\nport = {port}\n{switches}")
            process = await asyncio.to_thread(start_daemon, config, log, environment())
            daemon = Daemon(process, port, log)
            here.daemons.append(daemon)
            await daemon.ready()
            well_s = await _most_late_s(here)
            between.black_hole = True
            silent_s = await _most_late_s(here)
            between.black_hole = False
            cut_s = 0.0
            for _ in range(3):
                between.cut()
                cut_s = max(cut_s, await _most_late_s(here))
            await other.stop()
            between.cut()
            gone_s = await _most_late_s(here)
            for what, late_s in (("well", well_s), ("silent", silent_s), ("cut off", cut_s), ("gone", gone_s)):
                measured(f"1 a call of a switch while another is {what}: slowest decision of {CALLS}", late_s)
            await here.settled(CALLS * 6)

    play(tmp_path, case)
