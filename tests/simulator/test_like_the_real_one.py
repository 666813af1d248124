"""The simulated switch against captures of a real one: the same events, in the same order, with the same headers.

What one thread of Asterisk tells comes in a fixed order; between threads the order varies from call to call (even
among the captures). So the events are compared by whom they are about: the caller's channel, the callee's, either
device, the bridge, the gate.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from rater.switch.actions import DECIDED
from rater.switch.simulator.call import Outcome
from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.switch import SimulatedSwitch

from .ami_client import AmiClient, ami_client
from .support import EXTENSIONS, GATEWAYS, USERS, beat

CAPTURES = Path(__file__).parents[1] / "switch/captures"
NUMBER = "+33123456789"
Stories = dict[str, list[tuple[str, tuple[str, ...], str]]]
"""By whom they are about: each event's name, its headers, and what tells its kind (a status, a cause, a state). Not
the value of TechCause: in the captures sipp answers a CANCEL with 500, where a carrier says 487."""
TELLING = ("DialStatus", "State", "ChannelStateDesc", "Cause", "BridgeNumChannels", "ResultCode")


class Scene(NamedTuple):
    capture: str
    outcome: Outcome = Outcome.ANSWERED
    verdict: str = ""
    """What the gate is told; empty: there is none."""


SCENES = [
    Scene("plain"),
    Scene("busy", Outcome.BUSY),
    Scene("unavailable", Outcome.FAILED),
    Scene("cancel", Outcome.CANCELLED),
    Scene("gate", verdict="allow"),
    Scene("gate_denied", verdict="deny"),
]


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.capture)
def test_a_call_tells_what_a_real_one_tells(scene: Scene) -> None:
    real, ours = captured(scene.capture), asyncio.run(simulated(scene))
    assert ours.keys() == real.keys()
    for about, story in real.items():
        assert ours[about] == story, about


def test_a_trunk_that_rings_in_vain_is_told_alike() -> None:
    """In the capture a second trunk is tried afterwards: compared up to the end of the first."""
    real = captured("noanswer")["callee"]
    ended = next(place for place, (name, *_) in enumerate(real) if name == "Hangup")
    ours = asyncio.run(simulated(Scene("noanswer", Outcome.NO_ANSWER, "allow")))["callee"]
    assert ours == real[: ended + 1]


def captured(name: str) -> Stories:
    text = (CAPTURES / f"{name}.ami").read_bytes().decode(errors="replace")
    frames = []
    for block in re.split(r"(?:\r?\n){2,}", text):
        pairs = [line.partition(": ")[::2] for line in block.splitlines()]
        frames.append({header.strip(": "): value for header, value in pairs})
    return told(frames)


async def simulated(scene: Scene) -> Stories:
    switch = SimulatedSwitch(
        users=USERS, extensions=EXTENSIONS, gateways=GATEWAYS, channel_variables=("RATER_ACCOUNT",),
        gating=Gating.OUTBOUND if scene.verdict else Gating.NONE,
    )  # fmt: skip
    await switch.start()
    try:
        async with ami_client(switch.port, events="call,agi") as client, asyncio.timeout(20):
            await beat(client, switch)
            call = switch.place_call("1001", NUMBER, ring_s=0.1, talk_s=0.2, outcome=scene.outcome)
            if scene.verdict:
                await answer(client, scene.verdict)
            await switch.finished(call)
            await client.ask("Ping")  # what was told before has arrived then
            return told(client.events)
    finally:
        await switch.stop()


async def answer(client: AmiClient, verdict: str) -> None:
    """As the daemon does: variables by Setvar, then the break."""
    channel = (await client.wait_event("AsyncAGIStart"))["Channel"]
    reason = "allowed" if verdict == "allow" else "insufficient_credit"
    await client.ask("Setvar", Channel=channel, Variable=DECIDED, Value=f"{reason},60,{verdict}")
    await client.ask("AGI", Channel=channel, Command="ASYNCAGI BREAK")


def told(frames: Iterable[Mapping[str, str]]) -> Stories:
    stories: Stories = {}
    for frame in frames:
        name = frame.get("Event", "")
        about = whom(frame) if name and not name.startswith("CoreShow") and name != "FullyBooted" else ""
        if about:
            telling = " ".join(frame[header] for header in TELLING if header in frame)
            stories.setdefault(about, []).append((name, tuple(frame), telling))
    return stories


def whom(frame: Mapping[str, str]) -> str:
    if "AGI" in frame["Event"]:
        return "gate"
    if "Device" in frame:
        return "caller's device" if frame["Device"].endswith("1001") else "callee's device"
    if "Channel" in frame:
        return "caller" if "/1001-" in frame["Channel"] else "callee"
    return "bridge" if frame["Event"].startswith("Bridge") else ""
