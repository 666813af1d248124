"""Nothing with a control character reaches a switch's socket, whatever it is that should be sent."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rater.errors import SwitchUnavailable
from rater.switch.frames import Action, serialize, serialize_all
from tests.switch.peer import Peer, connected, run

ROOT = Path(__file__).parents[2]
_CONTROLS = [chr(i) for i in range(0x110000) if unicodedata.category(chr(i)) == "Cc"] + ["\u2028", "\u2029"]
_TEXT = st.text(st.one_of(st.characters(), st.sampled_from(_CONTROLS)), max_size=40)
_KEY = st.one_of(st.sampled_from(["Channel", "Variable", "Value", "Exten"]), _TEXT)


@pytest.mark.parametrize("control", _CONTROLS, ids=lambda c: f"U+{ord(c):04X}")
@pytest.mark.parametrize("text", ["{}", "a{}", "{}a", "a{}b"])
def test_every_control_character_is_refused_in_every_place(control: str, text: str) -> None:
    bad = text.format(control)
    for action in ({"Action": bad}, {"Action": "Setvar", "Value": bad}, {"Action": "Setvar", bad: "x"}):
        with pytest.raises(ValueError, match=r"control character|no plain word") as refused:
            serialize(action)
        assert control not in str(refused.value)


@settings(max_examples=2000, deadline=None)
@given(st.dictionaries(_KEY, _TEXT, max_size=6))
@example({"Action": "Setvar", "Value": "a\r\nAction: Originate"})
@example({"Action": "Setvar", "Value": "\ud800"})
def test_an_action_is_one_block_of_its_own_headers_or_refused(action: Action) -> None:
    try:
        data = serialize(action)
    except ValueError:
        return
    lines = data.decode().split("\r\n")
    assert lines == [f"{key}: {value}" for key, value in action.items()] + ["", ""]
    assert not re.search("[\x00-\x1f\x7f-\x9f]", "".join(lines))
    assert all(len(line.encode()) + 2 < 1024 for line in lines)


def test_what_is_refused_leaves_no_byte_on_the_socket_and_nothing_waiting() -> None:
    async def body() -> None:
        async with connected(peer := Peer()) as client:
            good = {"Action": "Setvar", "ActionID": "x-2", "Variable": "A", "Value": "1"}
            for control in _CONTROLS:
                bad = good | {"ActionID": "x-1", "Value": f"1{control}Action: Originate"}
                assert client.connection.send([bad, good])
                with pytest.raises(ValueError, match="control"):
                    await client.connection.request("Getvar", Variable=f"A{control}")
            with pytest.raises((ValueError, SwitchUnavailable)):
                await client.connection.request("Getvar", Variable="\ud800")
            await client.connection.request("Ping")
            assert {action["Value"] for action in peer.named("Setvar")} == {"1"}
            assert len(peer.named("Setvar")) == len(_CONTROLS)
            assert not peer.named("Getvar")
            await asyncio.sleep(0)

    run(body())


def test_bytes_for_a_switch_come_from_the_one_serializer() -> None:
    """Every write in the code that speaks to switches hands over what `serialize` made."""
    writes = []
    for path in [*(ROOT / "rater/switch").glob("*.py"), *(ROOT / "rater/doctor").glob("*.py")]:
        writes += [
            f"{path.name}: {line.strip()}"
            for line in path.read_text().splitlines()
            if re.search(r"(transport|writer)\.(write|writelines|sendall)\(", line)
        ]
    assert sorted(writes) == [
        "ami.py: self._transport.write(data)",
        'ami.py: self._transport.write(serialize({"Action": "Logoff"}))',
        "exchange.py: transport.write(data)",
        'manager.py: self._writer.write(serialize({"Action": name, "ActionID": action_id, **headers}))',
    ]
    exchange = (ROOT / "rater/switch/exchange.py").read_text()
    made = [
        line.strip() for line in exchange.splitlines() if re.search(r"\bdata = |parts\.append|return fit", line)
    ]
    assert made == [
        "data = serialize_all(actions)",
        "actions, data = self._fit(actions)",
        "parts.append(serialize(action))",
        'return fit, b"".join(parts)',
    ]


@pytest.mark.parametrize("bad", ["a\rb", "a\nb", "a\x00b", "a\x7fb"])
def test_many_actions_at_once_are_held_to_the_same(bad: str) -> None:
    """None: each of them is looked at by itself, and the bad one left out."""
    good: Action = {"Action": "Setvar", "ActionID": "1", "Value": "x"}
    assert serialize_all([good, {**good, "Value": bad}]) is None
    assert serialize_all([good, {**good, "Variable": "a", "Value": "b"}]) in (
        None,  # from its sources every action is looked at by itself
        b"".join(serialize(action) for action in (good, {**good, "Variable": "a", "Value": "b"})),
    )
