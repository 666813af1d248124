"""One AMI connection over real sockets: log-in, loss, silence, floods."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rater.errors import SwitchUnavailable
from rater.switch import exchange
from rater.switch.ami import ConnectionState
from rater.switch.exchange import BATCH
from tests.switch.peer import QUICK, SECRET, Client, Peer, connected, encode, run, until

HANGUP = {"Event": "Hangup", "Channel": "PJSIP/1-2", "Uniqueid": "5.5", "Cause": "16"}


def hangups(count: int, start: int = 0) -> list[dict[str, str]]:
    return [HANGUP | {"Uniqueid": f"5.{number}"} for number in range(start, start + count)]


# -- log-in --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("login", ["md5", "plain"])
def test_logging_in(login: str):
    async def body() -> None:
        async with connected(peer := Peer(), login=login) as client:
            assert client.states == [ConnectionState.CONNECTING, ConnectionState.UP]
            [sent] = peer.named("Login")
            assert ("Secret" in sent) == (login == "plain")
            assert sent["Events"] == "off"

    run(body())


@pytest.mark.parametrize("login", ["md5", "plain"])
def test_3_a_refused_login_is_an_alarm_and_tried_again_slowly(login: str):
    async def body() -> None:
        peer = Peer()
        async with peer.serving():
            with capture_logs() as logs:
                async with Client(peer, secret="wrong", login=login).running() as client:
                    await until(lambda: client.states.count(ConnectionState.REFUSED) == 2)
            assert ConnectionState.UP not in client.states
            assert "wrong" not in str(logs)
            assert [entry["log_level"] for entry in logs][:1] == ["error"]

    run(body())


def test_3_it_goes_on_when_the_secret_was_mended():
    async def body() -> None:
        peer = Peer()
        peer.refuses_login = True
        async with peer.serving(), Client(peer).running() as client:
            await until(lambda: ConnectionState.REFUSED in client.states)
            peer.refuses_login = False
            await client.up()

    run(body())


def test_a_switch_without_md5_is_refused_with_a_hint():
    async def body() -> None:
        peer = Peer()
        peer.knows_md5 = False
        async with peer.serving():
            with capture_logs() as logs:
                async with Client(peer).running() as client:
                    await until(lambda: ConnectionState.REFUSED in client.states)
            assert 'login = "plain"' in logs[0]["hint"]
            assert not peer.named("Login")

    run(body())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=switch",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def test_tls_with_the_right_authority_only(certificate: Path):
    async def body() -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        peer = Peer()
        async with peer.serving(context):
            async with Client(peer, tls=True, tls_ca=certificate).running() as client:
                await client.up()
            async with Client(peer, tls=True).running() as stranger:
                await until(lambda: stranger.states.count(ConnectionState.LOST) == 2)
            assert ConnectionState.UP not in stranger.states
            assert peer.logins == 1

    run(body())


# -- loss ----------------------------------------------------------------------------------------------------------


def test_1_a_lost_connection_is_made_again():
    async def body() -> None:
        async with connected(peer := Peer()) as client:
            for times in (2, 3):
                peer.drop()
                await client.up(times)
            assert client.states[:5] == ["connecting", "up", "lost", "connecting", "up"]
            assert client.connection.connects == 3

    run(body())


def test_2_a_switch_that_falls_silent_is_given_up():
    async def body() -> None:
        async with connected(peer := Peer()) as client:
            peer.silent = {"*"}
            await until(lambda: ConnectionState.LOST in client.states)
            peer.silent = set()
            await client.up(2)

    run(body())


def test_it_waits_for_a_switch_that_is_not_there_yet():
    async def body() -> None:
        peer = Peer()
        async with peer.serving():
            pass
        async with Client(peer).running() as client:
            await until(lambda: client.states.count(ConnectionState.LOST) >= 2)

    run(body())


def test_1_a_frame_cut_off_by_the_loss_is_not_glued_to_what_comes_next():
    async def body() -> None:
        data = encode(HANGUP)
        async with connected(peer := Peer()) as client:
            for cut in range(1, len(data)):
                peer.write(data[:cut])
                await asyncio.sleep(0)
                peer.drop()
                await client.up(cut + 1)
                if cut % 10 == 0:
                    peer.emit(HANGUP)
                    await until(lambda at=cut // 10: len(client.frames) == at)
            assert all(frame == HANGUP for frame in client.frames)

    run(body())


def test_closing_logs_off_and_ends_the_run():
    async def body() -> None:
        peer = Peer()
        async with peer.serving():
            client = Client(peer)
            task = asyncio.create_task(client.connection.run())
            await client.up()
            client.connection.close()
            await asyncio.wait_for(task, 5)
            await until(lambda: peer.names()[-1] == "Logoff")

    run(body())


# -- asking --------------------------------------------------------------------------------------------------------


def test_a_question_and_its_answer_go_past_the_events():
    async def body() -> None:
        peer = Peer()
        peer.rows = [{"Channel": "PJSIP/1-1", "Uniqueid": "1.1"}, {"Channel": "PJSIP/2-1", "Uniqueid": "1.2"}]
        async with connected(peer) as client:
            status = await client.connection.request("CoreStatus")
            assert status["CoreStartupDate"] == "2026-11-24"
            listed = await client.connection.request_list("CoreShowChannels")
            assert [f.get("Uniqueid") for f in listed] == [None, "1.1", "1.2", None]
            peer.answers["Command"] = {"Output": "first", "Message": "Command output follows"}
            assert (await client.connection.request("Command", Command="core show uptime"))["Output"] == "first"
            peer.answers["Getvar"] = {"Response": "Error", "Message": "Permission denied"}
            assert (await client.connection.request("Getvar", Variable="X"))["Message"] == "Permission denied"
            assert client.frames == []

    run(body())


def test_questions_asked_together_get_each_their_answer():
    async def body() -> None:
        async with connected(Peer()) as client:
            answers = await asyncio.gather(*(client.connection.request("CoreStatus") for _ in range(50)))
            assert len({answer["ActionID"] for answer in answers}) == 50

    run(body())


def test_an_answer_that_does_not_come_is_an_error():
    async def body() -> None:
        peer = Peer()
        peer.silent = {"CoreStatus"}
        async with connected(peer) as client:
            with pytest.raises(SwitchUnavailable, match="CoreStatus"):
                await client.connection.request("CoreStatus")
            assert ConnectionState.LOST not in client.states

    run(body())


def test_a_question_under_way_when_the_connection_is_lost_fails_at_once_and_is_not_repeated():
    async def body() -> None:
        peer = Peer()
        peer.silent = {"CoreStatus"}
        async with connected(peer) as client:
            asking = asyncio.create_task(client.connection.request("CoreStatus"))
            await until(lambda: peer.named("CoreStatus"))
            peer.drop()
            with pytest.raises(SwitchUnavailable, match="lost"):
                await asking
            await client.up(2)
            await client.connection.request("CoreSettings")
            assert len(peer.named("CoreStatus")) == 1

    run(body())


def test_asking_without_a_connection_is_an_error():
    async def body() -> None:
        client = Client(Peer())
        with pytest.raises(SwitchUnavailable, match="not connected"):
            await client.connection.request("CoreStatus")
        assert not client.connection.send([{"Action": "Setvar", "ActionID": "1"}])

    run(body())


@pytest.mark.parametrize("close", ["abort", "close"])
def test_nothing_is_written_to_a_connection_that_is_being_closed(close: str):
    """uvloop's transports raise there; what is asked fails as without a connection, and waits for nothing."""

    async def body() -> None:
        async with connected(peer := Peer()) as client:
            connection = client.connection
            connection.abort("it is time") if close == "abort" else connection.close()
            assert not connection.send([{"Action": "Setvar", "ActionID": "1"}])
            with pytest.raises(SwitchUnavailable, match="not connected"):
                await connection.request("CoreStatus")
            assert not connection._waiting
            connection.close()
            await asyncio.sleep(0)
            assert not peer.named("Setvar")
            assert not peer.named("CoreStatus")

    run(body())


# -- telling -------------------------------------------------------------------------------------------------------


def test_actions_go_out_in_order_and_what_is_unsafe_is_left_out():
    async def body() -> None:
        async with connected(peer := Peer()) as client:
            values = ["a", "b\r\nAction: Originate", "c", "x" * 2000, "d"]
            actions = [{"Action": "Setvar", "ActionID": str(i), "Value": v} for i, v in enumerate(values)]
            with capture_logs() as logs:
                assert client.connection.send(actions)
            await until(lambda: len(peer.named("Setvar")) == 3)
            assert [action["Value"] for action in peer.named("Setvar")] == ["a", "c", "d"]
            assert not peer.named("Originate")
            assert sum(entry["event"] == "an action was not sent" for entry in logs) == 2

    run(body())


def test_4_an_action_without_an_answer_is_reported_and_not_repeated():
    async def body() -> None:
        peer = Peer()
        peer.silent = {"Hangup"}
        async with connected(peer) as client:
            client.connection.send([{"Action": "Hangup", "ActionID": "h"}, {"Action": "Setvar", "ActionID": "s"}])
            await until(lambda: client.overdue)
            assert client.overdue == ["Hangup"]
            peer.drop()
            await client.up(2)
            await client.connection.request("CoreStatus")
            assert len(peer.named("Hangup")) == 1

    run(body())


def test_refused_actions_are_counted():
    async def body() -> None:
        peer = Peer()
        peer.answers["Hangup"] = {"Response": "Error", "Message": "No such channel"}
        async with connected(peer) as client:
            client.connection.send([{"Action": "Hangup", "ActionID": "h"}])
            await until(lambda: client.connection.refused_actions == 1)
            assert client.overdue == []

    run(body())


def test_19_a_switch_that_reads_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch):
    async def body() -> None:
        monkeypatch.setattr(exchange, "WRITE_LIMIT", 10_000)
        patient = QUICK.__class__(**{n: getattr(QUICK, n) for n in QUICK.__slots__} | {"ping_deadline_s": 60.0})
        async with connected(peer := Peer(), timing=patient) as client:
            peer.reading.clear()
            number = 0
            while ConnectionState.LOST not in client.states:
                number += 1
                actions = [
                    {"Action": "Setvar", "ActionID": f"{number}-{i}", "Value": "x" * 900} for i in range(500)
                ]
                client.connection.send(actions)
                await asyncio.sleep(0)
            peer.reading.set()
            await client.up(2)

    run(body())


# -- reading -------------------------------------------------------------------------------------------------------


def test_events_arrive_in_order_and_in_batches():
    async def body() -> None:
        async with connected(peer := Peer()) as client:
            events = hangups(6 * BATCH + 7)
            peer.emit(*events)
            await until(lambda: len(client.frames) == len(events))
            assert client.frames == events
            assert max(map(len, client.batches)) <= BATCH
            assert client.connection.backlog_frames == 0

    run(body())


def test_the_socket_is_read_between_batches():
    """A long backlog does not keep pongs from being seen."""

    async def body() -> None:
        async with connected(peer := Peer()) as client:
            peer.emit(*hangups(20 * BATCH))
            await client.connection.request("CoreStatus")
            await until(lambda: len(client.frames) == 20 * BATCH)

    run(body())


def test_19_a_backlog_beyond_all_bounds_gives_the_connection_up(monkeypatch: pytest.MonkeyPatch):
    async def body() -> None:
        monkeypatch.setattr(exchange, "BACKLOG_LIMIT", 200)
        async with connected(peer := Peer()) as client:
            peer.write(b"".join(encode(event) for event in hangups(2_000)))
            await client.up(2)
            assert client.connection.backlog_frames == 0

    run(body())


def test_a_fault_in_handling_a_frame_leads_to_a_new_connection():
    async def body() -> None:
        async with connected(peer := Peer()) as client:
            taken = client._take

            def fails_once(frames: list[dict[str, str]], arrived_ns: int) -> None:
                client.connection._on_frames = taken
                raise RuntimeError("a fault of ours")

            client.connection._on_frames = fails_once
            peer.emit(HANGUP)
            await client.up(2)
            peer.emit(HANGUP)
            await until(lambda: client.frames == [HANGUP])

    run(body())


def test_the_switchs_clock_is_known_from_its_pongs():
    async def body() -> None:
        async with connected(Peer()) as client:
            assert abs(client.connection.switch_now_ms() - 1_700_000_000_000) < 60_000

    run(body())


def test_recorded_is_what_came_behind_the_login():
    async def body() -> None:
        async with connected(peer := Peer(), login="plain") as client:
            peer.emit(HANGUP)
            await until(lambda: client.frames)
            assert encode(HANGUP) in client.recorded
            assert b"Authentication" not in client.recorded
            assert SECRET.encode() not in client.recorded

    run(body())
