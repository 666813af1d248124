"""The gate: AGI(agi:async) before Dial, and what the dialplan does when nobody answers."""

from __future__ import annotations

import asyncio

import pytest

from rater.switch.simulator.call import Fate
from rater.switch.simulator.dialplan import Gating

from .ami_client import ami_client
from .support import answer_gate, beat, environment, runs, simulated_switch, stamp_s


@runs
async def test_an_allowed_call_is_dialled_with_its_timer() -> None:
    async with simulated_switch(Gating.OUTBOUND) as switch, ami_client(switch.port, events="call,agi") as client:
        await beat(client, switch)
        call = switch.place_call("1001", "0123456", ring_s=0.2, talk_s=30)
        start = await client.wait_event("AsyncAGIStart")
        env = environment(start)
        assert env["agi_request"] == "async"
        assert env["agi_accountcode"] == "ACC1001"
        assert (env["agi_arg_1"], env["agi_arg_2"]) == ("0123456", "out")
        await asyncio.sleep(0.05)
        assert "DialBegin" not in client.names(), "the call waits for the verdict"
        await answer_gate(client, start["Channel"], "allow", "allowed", 1)
        dial = await client.wait_event("DialBegin")
        names = client.names()
        assert names.index("AsyncAGIEnd") < names.index("DialBegin")
        assert names.count("AsyncAGIExec") == 4
        await switch.finished(call)
        assert call.fate is Fate.CUT
        hangup = await client.wait_event("Hangup", Channel=dial["Channel"])
        assert stamp_s(hangup) - stamp_s(dial) == pytest.approx(1.0, abs=0.05)


@runs
async def test_a_denied_call_is_refused_with_the_cause_of_its_reason() -> None:
    async with simulated_switch(Gating.OUTBOUND) as switch, ami_client(switch.port, events="call,agi") as client:
        await beat(client, switch)
        for reason, cause in (("insufficient_credit", "21"), ("line_limit", "17"), ("trunk_limit", "34")):
            call = switch.place_call("1001", "0123456")
            assert call.caller is not None
            channel = call.caller.name
            await answer_gate(client, channel, "deny", reason, 0)
            await switch.finished(call)
            assert call.fate is Fate.DENIED
            assert (await client.wait_event("Hangup", Channel=channel))["Cause"] == cause
        assert "DialBegin" not in client.names()


@runs
async def test_agi_commands_answer_as_asterisk_does() -> None:
    async with simulated_switch(Gating.OUTBOUND) as switch, ami_client(switch.port, events="agi") as client:
        await beat(client, switch)
        switch.place_call("1001", "0123456", ring_s=0.1, talk_s=0.1)
        channel = (await client.wait_event("AsyncAGIStart"))["Channel"]
        for number, (command, result) in enumerate(
            (
                ("SET VARIABLE COLOUR light\\ green", "200%20result%3D1%0A"),
                ("GET VARIABLE COLOUR", "200%20result%3D1%20%28light%20green%29%0A"),
                ("GET VARIABLE NOTHING", "200%20result%3D0%0A"),
                ("EXEC Set TIMEOUT(absolute)=9", "200%20result%3D0%0A"),
                ("FROBNICATE", "510%20Invalid%20or%20unknown%20command%0A"),
            )
        ):
            await client.ask("AGI", Channel=channel, Command=command, CommandID=f"c{number}")
            assert (await client.wait_event("AsyncAGIExec", CommandID=f"c{number}"))["Result"] == result
        held = switch.world.find(channel)
        assert held is not None
        assert held.timeout_at_us is not None
        assert held.timeout_at_us - switch.world.now_us() == pytest.approx(9e6, abs=0.5e6)


@runs
async def test_agi_outside_the_gate_is_refused() -> None:
    async with simulated_switch() as switch, ami_client(switch.port) as client:
        call = switch.place_call("1001", "0123456", ring_s=30)
        assert call.caller is not None
        refused = await client.ask("AGI", Channel=call.caller.name, Command="ASYNCAGI BREAK")
        assert refused["Response"] == "Error"
        assert (await client.ask("AGI", Channel="PJSIP/x-1", Command="NOOP"))["Response"] == "Error"


@pytest.mark.parametrize(("fail", "fate"), [("open", Fate.ANSWERED), ("closed", Fate.DENIED), ("", Fate.DENIED)])
def test_without_a_heartbeat_the_call_does_not_wait(fail: str, fate: Fate) -> None:
    async def scene() -> None:
        gate = simulated_switch(Gating.OUTBOUND)
        async with gate as switch, ami_client(switch.port, events="call,agi") as client:
            await client.ask("Setvar", Variable="RATER_FAIL", Value=fail)
            await client.ask("Setvar", Variable="RATER_BEAT", Value=str(switch.world.now_us() // 1_000_000 - 5))
            call = switch.place_call("1001", "0123456", ring_s=0.02, talk_s=0.02)
            await switch.finished(call)
            assert call.fate is fate
            assert "AsyncAGIStart" not in client.names()

    asyncio.run(scene())


@pytest.mark.parametrize(("fail", "fate"), [("open", Fate.ANSWERED), ("closed", Fate.DENIED)])
def test_a_call_that_waits_in_vain_is_let_go_by_the_guard(fail: str, fate: Fate) -> None:
    async def scene() -> None:
        gate = simulated_switch(Gating.OUTBOUND)
        async with gate as switch, ami_client(switch.port, events="call,agi") as client:
            await beat(client, switch)
            await client.ask("Setvar", Variable="RATER_FAIL", Value=fail)
            call = switch.place_call("1001", "0123456", ring_s=0.02, talk_s=0.02)
            start = await client.wait_event("AsyncAGIStart")
            end = await client.wait_event("AsyncAGIEnd")
            assert stamp_s(end) - stamp_s(start) == pytest.approx(3.0, abs=0.1)
            await switch.finished(call)
            assert call.fate is fate

    asyncio.run(scene())


@runs
async def test_a_caller_may_hang_up_while_the_gate_decides() -> None:
    async with simulated_switch(Gating.OUTBOUND) as switch, ami_client(switch.port, events="call,agi") as client:
        await beat(client, switch)
        call = switch.place_call("1001", "0123456")
        start = await client.wait_event("AsyncAGIStart")
        call.hang_up(by_caller=True)
        await client.wait_event("Hangup", Channel=start["Channel"])
        names = client.names()
        assert names.index("HangupRequest") < names.index("AsyncAGIEnd") < names.index("Hangup")
        assert call.fate is Fate.CANCELLED
        late = await client.ask("AGI", Channel=start["Channel"], Command="ASYNCAGI BREAK")
        assert late["Response"] == "Error"


@runs
async def test_emergency_and_malformed_numbers_are_decided_by_the_dialplan() -> None:
    async with simulated_switch(Gating.OUTBOUND) as switch, ami_client(switch.port, events="call,agi") as client:
        await beat(client, switch)
        emergency = switch.place_call("1001", "190", ring_s=0.02, talk_s=0.02)
        malformed = switch.place_call("1001", "12a4")
        await switch.finished(emergency)
        assert emergency.fate is Fate.ANSWERED
        assert (malformed.fate, malformed.cause) == (Fate.DENIED, 28)
        assert "AsyncAGIStart" not in client.names()


@runs
async def test_inbound_calls_ask_only_when_told_to() -> None:
    async with simulated_switch(Gating.BOTH) as switch, ami_client(switch.port, events="call,agi") as client:
        await beat(client, switch)
        call = switch.receive_call("1002", caller="0555", number="0800123", ring_s=0.02, talk_s=0.02)
        env = environment(await client.wait_event("AsyncAGIStart"))
        assert (env["agi_arg_1"], env["agi_arg_2"], env["agi_arg_3"]) == ("0800123", "in", "1002")
        assert call.caller is not None
        await answer_gate(client, call.caller.name, "allow", "allowed", 0)
        await switch.finished(call)
        assert call.fate is Fate.ANSWERED
