"""The manager port over a real socket, as any client sees it."""

from __future__ import annotations

import asyncio
import re

from .ami_client import ami_client
from .support import runs, simulated_switch, stamp_s


@runs
async def test_banner_and_plain_login() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, login=False) as client:
        assert re.fullmatch(r"Asterisk Call Manager/\d+\.\d+\.\d+", client.banner)
        response = await client.login()
        assert response["Message"] == "Authentication accepted"
        booted = await client.wait_event("FullyBooted")
        assert booted["Status"] == "Fully Booted"


@runs
async def test_md5_login() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, login=False) as client:
        assert (await client.login_md5())["Response"] == "Success"
        assert (await client.ask("Ping"))["Ping"] == "Pong"


@runs
async def test_md5_login_needs_the_secret() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, login=False) as client:
        response = await client.login_md5(secret="guess")
        assert response == {"Response": "Error", "ActionID": "2", "Message": "Authentication failed"}
        await client.closed()


@runs
async def test_md5_key_without_a_challenge_is_refused() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, login=False) as client:
        response = await client.ask("Login", AuthType="MD5", Username="rater", Key="0" * 32)
        assert response["Response"] == "Error"


@runs
async def test_wrong_secret_is_refused_and_disconnected() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, login=False) as client:
        assert (await client.login(secret="wrong"))["Message"] == "Authentication failed"
        await client.closed()
        assert switch.clients == 0


@runs
async def test_nothing_before_login() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, login=False) as client:
        assert (await client.ask("CoreStatus"))["Message"] == "Permission denied"
        switch.place_call("1001", "0123456")
        await client.login()
        await client.wait_event("FullyBooted")
        assert client.names() == ["FullyBooted"]


@runs
async def test_permissions_of_the_user_hold() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, login=False) as client:
        await client.login(user="looker")
        assert (await client.ask("Setvar", Variable="X", Value="1"))["Message"] == "Permission denied"
        assert (await client.ask("CoreStatus"))["Response"] == "Success"
        assert "FullyBooted" not in client.names(), "the user may not read the class system"


@runs
async def test_logoff_says_goodbye_and_closes() -> None:
    async with simulated_switch() as switch, ami_client(switch.port) as client:
        assert (await client.ask("Logoff"))["Response"] == "Goodbye"
        await client.closed()


@runs
async def test_unknown_action_is_an_error() -> None:
    async with simulated_switch() as switch, ami_client(switch.port) as client:
        response = await client.ask("Frobnicate")
        assert response["Response"] == "Error"
        assert "Frobnicate" in response["Message"]


@runs
async def test_frames_split_anywhere_and_joined_are_understood() -> None:
    async with simulated_switch() as switch, ami_client(switch.port) as client:
        for byte in b"Action: Originat\r\n\r\nAction: Setvar\r\nVariable: A\r\nValue: 1\r\n\r\n":
            client.send_raw(bytes([byte]))
            await asyncio.sleep(0)
        client.send_raw(b"Action: Ping\r\n\r\nAction: Setvar\r\nVariable: B\r\nValue: 2\r\n\r\n")
        assert (await client.ask("Getvar", Variable="A"))["Value"] == "1"
        assert (await client.ask("Getvar", Variable="B"))["Value"] == "2"


@runs
async def test_a_client_that_sends_without_end_is_dropped() -> None:
    async with simulated_switch() as switch, ami_client(switch.port) as client:
        client.send_raw(b"x" * 300_000)
        await client.closed()


@runs
async def test_event_masks_choose_classes() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="off") as client:
        switch.place_call("1001", "0123456", ring_s=0.05, talk_s=0.05)
        assert (await client.ask("Events", EventMask="agi,dialplan"))["Events"] == "On"
        await client.ask("Setvar", Variable="A", Value="1")
        await client.wait_event("VarSet", Variable="A", Channel="none")
        assert set(client.names()) == {"VarSet"}
        assert (await client.ask("Events", EventMask="off"))["Events"] == "Off"
        assert (await client.ask("Events", EventMask="nonsense"))["Response"] == "Error"


@runs
async def test_filters_leave_out_what_they_name() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        for headers in (
            {"Filter": "!Event: Newstate"},
            {"MatchCriteria": "action(exclude),name(DialState)"},
            {
                "MatchCriteria": "action(exclude),name(Hangup),header(Channel),method(starts_with)",
                "Filter": "PJSIP/t",
            },
        ):
            response = await client.ask("Filter", Operation="Add", **headers)
            assert response["Response"] == "Success", response
        switch.place_call("1001", "0123456", ring_s=0.05, talk_s=0.05)
        hangup = await client.wait_event("Hangup")
        assert hangup["Channel"].startswith("PJSIP/1001-"), "the trunk's hang-up is filtered out"
        assert not {"Newstate", "DialState"} & set(client.names())
        assert (await client.ask("Filter", Operation="Add", Filter="(["))["Response"] == "Error"


@runs
async def test_an_including_filter_lets_nothing_else_pass() -> None:
    async with simulated_switch() as switch, ami_client(switch.port) as client:
        await client.ask("Filter", Operation="Add", Filter=r"Event: (Newchannel|Hangup)\s")
        await switch.finished(switch.place_call("1001", "0123456", ring_s=0.05, talk_s=0.05))
        await client.wait_event("Hangup", Exten="0123456")
        assert [name for name in client.names() if name != "FullyBooted"] == ["Newchannel"] * 2 + ["Hangup"] * 2


@runs
async def test_core_status_and_settings() -> None:
    async with simulated_switch() as switch, ami_client(switch.port) as client:
        status = await client.ask("CoreStatus")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", status["CoreStartupDate"])
        assert re.fullmatch(r"\d\d:\d\d:\d\d", status["CoreStartupTime"])
        assert (await client.ask("CoreSettings"))["AsteriskVersion"].startswith("22.")


@runs
async def test_core_show_channels_lists_live_channels() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="off") as client:
        switch.place_call("1001", "0123456", ring_s=0.01, talk_s=30)
        switch.place_call("1002", "0999", ring_s=30)
        await asyncio.sleep(0.1)
        response = await client.ask("CoreShowChannels")
        assert response["EventList"] == "start"
        complete = await client.wait_event("CoreShowChannelsComplete", ActionID=response["ActionID"])
        listed = [event for event in client.events if event["Event"] == "CoreShowChannel"]
        assert complete["ListItems"] == "4" == str(len(listed))
        states = {event["Channel"].rsplit("-", 1)[0]: event["ChannelStateDesc"] for event in listed[:2]}
        assert states == {"PJSIP/1001": "Up", "PJSIP/trunk": "Up"}
        assert len({event["BridgeId"] for event in listed[:2]}) == 1
        assert all("Timestamp" not in event and "Privilege" not in event for event in listed)


@runs
async def test_variables_of_channels_and_of_the_switch() -> None:
    async with simulated_switch() as switch, ami_client(switch.port) as client:
        call = switch.place_call("1001", "0123456", ring_s=30)
        assert call.caller is not None
        name, uniqueid = call.caller.name, call.caller.uniqueid
        await client.ask("Setvar", Channel=name, Variable="COLOUR", Value="green")
        assert (await client.ask("Getvar", Channel=uniqueid, Variable="COLOUR"))["Value"] == "green"
        assert (await client.ask("Getvar", Variable="COLOUR"))["Value"] == "", "not a global one"
        assert (await client.ask("Getvar", Channel=name, Variable="CHANNEL(accountcode)"))["Value"] == "ACC1001"
        for action in ("Setvar", "Getvar", "Hangup", "AbsoluteTimeout"):
            response = await client.ask(action, Channel="PJSIP/none-1", Variable="X", Value="1", Timeout="1")
            assert response["Message"] == "No such channel"


@runs
async def test_several_clients_hear_the_same() -> None:
    async with simulated_switch() as switch, ami_client(switch.port) as one, ami_client(switch.port) as two:
        switch.place_call("1001", "0123456", ring_s=0.02, talk_s=0.02)
        for client in (one, two):
            await client.wait_event("Hangup", Exten="0123456")
        assert switch.clients == 2
        assert one.names() == two.names()


@runs
async def test_timestamps_grow_and_can_be_left_out() -> None:
    async with simulated_switch() as switch, ami_client(switch.port, events="call") as client:
        await switch.finished(switch.place_call("1001", "0123456", ring_s=0.05, talk_s=0.2))
        await client.wait_event("Hangup", Exten="0123456")
        times = [stamp_s(event) for event in client.events]
        assert times == sorted(times)
        assert times[-1] - times[0] >= 0.25
    async with simulated_switch(timestamps=False) as switch, ami_client(switch.port, events="call") as client:
        switch.place_call("1001", "0123456", ring_s=0.02, talk_s=0.02)
        assert "Timestamp" not in await client.wait_event("Newchannel")


@runs
async def test_stop_hangs_up_and_says_so() -> None:
    async with simulated_switch() as switch, ami_client(switch.port) as client:
        call = switch.place_call("1001", "0123456", ring_s=0.01, talk_s=30)
        await client.wait_event("BridgeEnter")
        await switch.stop()
        await client.closed()
        channels_gone = [name for name in client.names() if name != "DeviceStateChange"]
        assert channels_gone[-2:] == ["Hangup", "Shutdown"]
        assert call.fate == "answered"


@runs
async def test_a_crash_loses_everything_and_says_nothing() -> None:
    async with simulated_switch() as switch, ami_client(switch.port) as client:
        call = switch.place_call("1001", "0123456", ring_s=0.01, talk_s=30)
        await client.wait_event("BridgeEnter")
        started_us = switch.world.started_us
        switch.crash()
        await client.closed()
        assert "Hangup" not in client.names()
        assert call.fate == "lost"
        async with ami_client(switch.port, events="off") as again:
            response = await again.ask("CoreShowChannels")
            complete = await again.wait_event("CoreShowChannelsComplete", ActionID=response["ActionID"])
            assert complete["ListItems"] == "0"
        assert switch.world.started_us > started_us
