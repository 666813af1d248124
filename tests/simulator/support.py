"""What the tests of the simulated switch share."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import unquote

from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.protocol import ManagerUser
from rater.switch.simulator.switch import Extension, Gateway, SimulatedSwitch

from .ami_client import AmiClient, Frame

USERS = (
    ManagerUser("rater", "secret"),
    ManagerUser("looker", "secret", read=frozenset({"call"}), write=frozenset({"reporting"})),
)
EXTENSIONS = (Extension("1001", "ACC1001"), Extension("1002", "ACC1002"), Extension("1003"))
GATEWAYS = (Gateway("trunk"), Gateway("spare"))


def runs(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """An asynchronous test, run to its end within 20 s."""

    @functools.wraps(test)
    def run() -> None:
        async def limited() -> None:
            async with asyncio.timeout(20):
                await test()

        asyncio.run(limited())

    return run


@asynccontextmanager
async def simulated_switch(
    gating: Gating = Gating.NONE, *, timestamps: bool = True
) -> AsyncIterator[SimulatedSwitch]:
    switch = SimulatedSwitch(
        users=USERS, extensions=EXTENSIONS, gateways=GATEWAYS, gating=gating, timestamps=timestamps
    )
    await switch.start()
    try:
        yield switch
    finally:
        await switch.stop()


async def beat(client: AmiClient, switch: SimulatedSwitch) -> None:
    """Tell the dialplan that somebody is there."""
    response = await client.ask("Setvar", Variable="RATER_BEAT", Value=str(switch.world.now_us() // 1_000_000))
    assert response["Response"] == "Success"


async def answer_gate(client: AmiClient, channel: str, verdict: str, reason: str, seconds: int) -> None:
    """What a daemon sends when it has decided: variables, timer, break."""
    for command in (
        f'SET VARIABLE RATER_VERDICT "{verdict}"',
        f'SET VARIABLE RATER_REASON "{reason}"',
        f'SET VARIABLE RATER_SECONDS "{seconds}"',
        "ASYNCAGI BREAK",
    ):
        response = await client.ask("AGI", Channel=channel, Command=command)
        assert response["Response"] == "Success", response


def environment(start: Frame) -> dict[str, str]:
    """The decoded Env of an AsyncAGIStart."""
    lines = unquote(start["Env"]).splitlines()
    return {name: value for name, _, value in (line.partition(": ") for line in lines if line)}


def stamp_s(frame: Frame) -> float:
    return float(frame["Timestamp"])
