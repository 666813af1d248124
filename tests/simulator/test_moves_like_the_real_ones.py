"""Transfers on the simulated switch against captures of a real one: for each channel, in the order in which they
appear, the same events in the same order, with the same headers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from rater.switch.simulator.call import Call, Outcome, Script
from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.switch import SimulatedSwitch

from .ami_client import ami_client
from .support import EXTENSIONS, GATEWAYS, USERS, runs, simulated_switch

CAPTURES = Path(__file__).parents[1] / "switch/captures"
OUTSIDE, ELSEWHERE = "+33123456789", "+33666000001"
NOT_OURS = ("VarSet", "Hold", "Unhold", "DeviceStateChange", "FullyBooted")
"""What a telephone sends on its way to a transfer, what dialplans set, and what is compared elsewhere."""
TELLING = ("DialStatus", "ChannelStateDesc", "Cause", "BridgeNumChannels", "Result", "Exten")
SHORT = Script(Outcome.ANSWERED, ring_s=0.1, talk_s=0.5)
Stories = list[list[tuple[str, tuple[str, ...], str]]]


def _out(switch: SimulatedSwitch) -> Call:
    return switch.place_call("1001", OUTSIDE, ring_s=0.1, talk_s=9)


def _in(switch: SimulatedSwitch) -> Call:
    return switch.receive_call("1002", caller="+33140000001", number="+33140000001", ring_s=0.1, talk_s=9)


SCENES = {
    "blind_outside": (_out, lambda switch, call: switch.transfer(call, ELSEWHERE, SHORT)),
    "blind_line": (_out, lambda switch, call: switch.transfer(call, "1002", SHORT)),
    "blind_inbound": (_in, lambda switch, call: switch.transfer(call, ELSEWHERE, SHORT, by_caller=False)),
    "redirect": (_out, lambda switch, call: switch.redirect(call, ELSEWHERE, SHORT)),
}


@pytest.mark.parametrize("capture", SCENES)
def test_a_transferred_call_tells_what_a_real_one_tells(capture: str) -> None:
    begin, move = SCENES[capture]
    real, ours = captured(capture), asyncio.run(simulated(begin, move))
    assert len(ours) == len(real)
    for place, (told, expected) in enumerate(zip(ours, real, strict=True)):
        assert told == expected, f"channel {place + 1}"


@runs
async def test_joined_calls_leave_the_far_parties_in_one_bridge() -> None:
    """An attended transfer; of the capture, which has a Local channel in between, only the event is compared."""
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        first, second = _out(switch), switch.place_call("1001", ELSEWHERE, ring_s=0.1, talk_s=9)
        while not (first.talking and second.talking):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        joined = switch.join(first, second, SHORT)
        assert joined is not None
        assert first.callee is not None and second.callee is not None
        assert first.callee.bridge == second.callee.bridge != ""
        await switch.finished(joined)
        await client.ask("Ping")
        (event,) = [frame for frame in client.events if frame["Event"] == "AttendedTransfer"]
        (real,) = [frame for frame in frames("attended") if frame.get("Event") == "AttendedTransfer"]
        assert [name for name in real if not name.endswith("ChanVariable")] == list(event)
        hung_up = [frame["Uniqueid"] for frame in client.events if frame["Event"] == "Hangup"]
        assert len(hung_up) == len(set(hung_up)) == 4


@runs
async def test_only_those_who_talk_can_be_sent_elsewhere() -> None:
    async with simulated_switch() as switch:
        call = _out(switch)
        assert switch.transfer(call, ELSEWHERE, SHORT) is None
        assert switch.redirect(call, ELSEWHERE, SHORT) is None
        assert switch.join(call, call, SHORT) is None
        call.hang_up(by_caller=True)
        assert switch.transfer(call, ELSEWHERE, SHORT) is None


def frames(name: str) -> list[dict[str, str]]:
    text = (CAPTURES / f"{name}.ami").read_bytes().decode(errors="replace")
    blocks = [block for block in re.split(r"(?:\r?\n){2,}", text) if "CoreShowChannels" not in block]
    pairs = [[line.partition(": ")[::2] for line in block.splitlines()] for block in blocks]
    return [{header.strip(": "): value for header, value in lines} for lines in pairs]


def captured(name: str) -> Stories:
    return told(frames(name))


async def simulated(
    begin: Callable[[SimulatedSwitch], Call], move: Callable[[SimulatedSwitch, Call], Call | None]
) -> Stories:
    switch = SimulatedSwitch(
        users=USERS, extensions=EXTENSIONS, gateways=GATEWAYS, channel_variables=("RATER_ACCOUNT",),
        gating=Gating.NONE,
    )  # fmt: skip
    await switch.start()
    try:
        async with ami_client(switch.port, events="call") as client, asyncio.timeout(20):
            call = begin(switch)
            while not call.talking:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            following = move(switch, call)
            assert following is not None and following.caller is not None
            switch.world.set_timeout(following.caller, 0.3)  # it ended the captured calls, too
            await switch.finished(following)
            await client.ask("Ping")
            return told(client.events)
    finally:
        await switch.stop()


def told(events: Iterable[Mapping[str, str]]) -> Stories:
    """Of each channel. A transfer is told of the one who makes it."""
    stories: dict[str, list[tuple[str, tuple[str, ...], str]]] = {}
    for frame in events:
        name = frame.get("Event", "")
        about = frame.get("TransfererChannel") or frame.get("Channel", "")
        if about and name not in NOT_OURS:
            telling = " ".join(frame[header] for header in TELLING if header in frame)
            stories.setdefault(about, []).append((name, tuple(frame), telling))
    return list(stories.values())
