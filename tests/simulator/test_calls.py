"""Calls on the simulated switch, as a manager client sees them."""

from __future__ import annotations

import asyncio

import pytest

from rater.switch.simulator.call import Fate, Outcome
from rater.switch.simulator.switch import SimulatedSwitch

from .ami_client import AmiClient, Frame, ami_client
from .support import runs, simulated_switch, stamp_s


def story(client: AmiClient) -> list[str]:
    """The events about channels, each with whom it is about."""
    names = []
    for event in client.events:
        if "Device" in event:
            continue
        channel = event.get("Channel", "").removeprefix("PJSIP/").rsplit("-", 1)[0]
        names.append(f"{event['Event']} {channel}".strip())
    return names


@runs
async def test_an_answered_call_tells_its_events_in_order() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        call = switch.place_call("1001", "0123456", ring_s=0.1, talk_s=0.3)
        await switch.finished(call)
        await client.wait_event("Hangup", Exten="0123456")
        assert story(client) == [
            "Newchannel 1001", "Newchannel trunk", "NewCallerid trunk", "NewAccountCode trunk",
            "NewConnectedLine trunk", "DialBegin 1001", "NewConnectedLine 1001", "Newstate trunk", "DialState 1001",
            "Newstate trunk", "DialEnd 1001", "Newstate 1001", "BridgeCreate", "BridgeEnter trunk",
            "BridgeEnter 1001", "HangupRequest 1001", "BridgeLeave 1001", "BridgeLeave trunk", "BridgeDestroy",
            "SoftHangupRequest 1001", "Hangup trunk", "Hangup 1001",
        ]  # fmt: skip
        assert call.fate is Fate.ANSWERED
        assert call.talked_s == pytest.approx(0.3, abs=0.1)


@runs
async def test_headers_of_a_dial() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        switch.place_call("1001", "0123456", ring_s=0.05, talk_s=0.05)
        dial = await client.wait_event("DialBegin")
        assert dial["DialString"] == "0123456@trunk"
        assert dial["AccountCode"] == "ACC1001" == dial["DestAccountCode"]
        assert dial["Linkedid"] == dial["Uniqueid"] == dial["DestLinkedid"] != dial["DestUniqueid"]
        assert dial["ChannelStateDesc"] == "Ring"
        assert dial["DestChannelStateDesc"] == "Down"
        end = await client.wait_event("DialEnd")
        assert end["DialStatus"] == "ANSWER"
        hangup = await client.wait_event("Hangup", Uniqueid=dial["DestUniqueid"])
        assert (hangup["Cause"], hangup["Cause-txt"]) == ("16", "Normal Clearing")


@pytest.mark.parametrize(
    ("outcome", "status", "cause"),
    [
        (Outcome.BUSY, "BUSY", "17"),
        (Outcome.NO_ANSWER, "NOANSWER", "19"),
        (Outcome.FAILED, "CONGESTION", "34"),
        (Outcome.CANCELLED, "CANCEL", "127"),
    ],
)
def test_calls_that_are_not_answered(outcome: Outcome, status: str, cause: str) -> None:
    async def scene() -> None:
        async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
            call = switch.place_call("1001", "0123456", ring_s=0.1, outcome=outcome)
            hangup = await client.wait(
                lambda event: event["Event"] == "Hangup" and event["Channel"].startswith("PJSIP/1001-")
            )
            assert hangup["Cause"] == cause
            assert (await client.wait_event("DialEnd"))["DialStatus"] == status
            assert "BridgeEnter" not in client.names()
            assert call.fate == outcome.value
            assert call.talked_s == 0

    asyncio.run(scene())


async def _up(switch: SimulatedSwitch, client: AmiClient) -> tuple[Frame, Frame]:
    """A call that talks: the frames that its two channels entered the bridge with, the trunk's first."""
    switch.place_call("1001", "0123456", ring_s=0.02, talk_s=30)
    await client.wait_event("BridgeEnter", BridgeNumChannels="2")
    trunk, line = (event for event in client.events if event["Event"] == "BridgeEnter")
    return trunk, line


@runs
async def test_absolute_timeout_cuts_the_leg_at_its_time() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        trunk, _ = await _up(switch, client)
        armed = await client.ask("AbsoluteTimeout", Channel=trunk["Channel"], Timeout="0.5")
        assert armed["Message"] == "Timeout Set"
        armed_at_s = switch.world.now_us() / 1e6
        hangup = await client.wait_event("Hangup", Channel=trunk["Channel"])
        assert stamp_s(hangup) - armed_at_s == pytest.approx(0.5, abs=0.05)
        assert hangup["Cause"] == "16"
        await client.wait_event("Hangup", Exten="0123456")
        assert "HangupRequest" not in client.names(), "nobody put the receiver down"


@runs
async def test_absolute_timeout_armed_again_counts_from_then() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        trunk, _ = await _up(switch, client)
        await client.ask("AbsoluteTimeout", Channel=trunk["Channel"], Timeout="0.3")
        await asyncio.sleep(0.2)
        await client.ask("AbsoluteTimeout", Channel=trunk["Channel"], Timeout="0.6")
        armed_at_s = switch.world.now_us() / 1e6
        hangup = await client.wait_event("Hangup", Channel=trunk["Channel"])
        assert stamp_s(hangup) - armed_at_s == pytest.approx(0.6, abs=0.05)


@runs
async def test_absolute_timeout_of_zero_is_refused() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        trunk, _ = await _up(switch, client)
        for timeout in ("0", "-1", "soon"):
            refused = await client.ask("AbsoluteTimeout", Channel=trunk["Channel"], Timeout=timeout)
            assert refused["Message"] == "No timeout specified"


@runs
async def test_the_answer_clears_the_timer_of_the_trunk_but_not_of_the_caller() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        call = switch.place_call("1001", "0123456", ring_s=0.2, talk_s=30)
        dial = await client.wait_event("DialBegin")
        await client.ask("AbsoluteTimeout", Channel=dial["DestChannel"], Timeout="0.4")
        await client.ask("AbsoluteTimeout", Channel=dial["Channel"], Timeout="1")
        await switch.finished(call)
        assert call.fate is Fate.CUT
        assert call.talked_s == pytest.approx(0.8, abs=0.1)


@runs
async def test_timeout_while_it_rings_ends_the_call_unanswered() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        call = switch.place_call("1001", "0123456", ring_s=30)
        dial = await client.wait_event("DialBegin")
        await client.ask("AbsoluteTimeout", Channel=dial["Channel"], Timeout="0.2")
        await switch.finished(call)
        assert (await client.wait_event("DialEnd"))["DialStatus"] == "CANCEL"
        assert call.fate is Fate.NO_ANSWER


@runs
async def test_hangup_by_a_manager_carries_its_cause() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        trunk, line = await _up(switch, client)
        await client.ask("Hangup", Channel=trunk["Channel"], Cause="50")
        assert (await client.wait_event("Hangup", Channel=trunk["Channel"]))["Cause"] == "50"
        await client.wait_event("Hangup", Channel=line["Channel"])
        assert (await client.ask("Hangup", Channel=trunk["Channel"]))["Message"] == "No such channel"


@runs
async def test_a_denial_in_watch_mode_ends_the_ringing() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        call = switch.place_call("1001", "0123456", ring_s=30)
        dial = await client.wait_event("DialBegin")
        await client.ask("Hangup", Channel=dial["Channel"], Cause="21")
        await switch.finished(call)
        assert call.fate is Fate.DENIED
        assert (await client.wait_event("Hangup", Channel=dial["Channel"]))["Cause"] == "21"


@runs
async def test_an_inbound_call_comes_from_the_trunk() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        switch.receive_call("1002", caller="0555", number="0800123", ring_s=0.02, talk_s=0.02)
        dial = await client.wait_event("DialBegin")
        assert dial["Channel"].startswith("PJSIP/trunk-")
        assert dial["DestChannel"].startswith("PJSIP/1002-")
        assert (dial["CallerIDNum"], dial["Exten"], dial["AccountCode"]) == ("0555", "0800123", "")
        await client.wait_event("Hangup", Channel=dial["Channel"])


@runs
async def test_a_line_reaches_another_line() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        switch.place_call("1001", "1002", ring_s=0.02, talk_s=0.02)
        dial = await client.wait_event("DialBegin")
        assert dial["DestChannel"].startswith("PJSIP/1002-")
        await client.wait_event("Hangup", Channel=dial["Channel"])
        assert not [event for event in client.events if "trunk" in event.get("Channel", "")]


@runs
async def test_several_calls_at_once_keep_apart() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        calls = [
            switch.place_call(line, f"09{n:04d}", ring_s=0.02 * n, talk_s=0.1, gateway="spare")
            for n, line in enumerate(("1001", "1002", "1003") * 5)
        ]
        for call in calls:
            await switch.finished(call)
        await client.ask("Ping")
        assert {call.fate for call in calls} == {Fate.ANSWERED}
        assert client.names().count("Hangup") == 30
        uniqueids = {event["Uniqueid"] for event in client.events if event["Event"] == "Newchannel"}
        assert len(uniqueids) == 30
        assert not switch.live
        assert not switch.world.channels


def test_lines_that_are_not_there_are_refused() -> None:
    async def scene() -> None:
        async with simulated_switch() as switch:
            with pytest.raises(KeyError):
                switch.place_call("4711", "0123")
            with pytest.raises(KeyError):
                switch.place_call("1001", "0123", gateway="none")

    asyncio.run(scene())
