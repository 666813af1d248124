"""A little of `tests/fuzz/run` with every run of the tests, and what it once found."""

from __future__ import annotations

import time
from pathlib import Path

import msgpack
import pytest

from rater.config import load_settings
from rater.control import parse_request
from rater.errors import ConfigError
from rater.events.notices import record_of
from rater.events.stream import UnreadableEntry, decode_entry
from tests.fuzz.__main__ import Hang, fuzz
from tests.fuzz.targets import TARGETS

FEW = {"ami": 1500, "messages": 3000, "decks": 1500, "settings": 300, "catalog": 100}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_spoilt_inputs_are_understood_or_refused(target: str) -> None:
    assert fuzz(target, FEW[target], seed=1).inputs == FEW[target]


def test_a_finding_is_told_with_its_seed_and_input(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> object:
        def play(dice: object) -> bytes:
            raise ZeroDivisionError

        yield play

    monkeypatch.setitem(TARGETS, "broken", broken)
    with pytest.raises(ZeroDivisionError) as found:
        fuzz("broken", 1, seed=7)
    assert "--seed 7 --from 0" in found.value.__notes__[0]


def test_a_hang_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def hanging() -> object:
        def play(dice: object) -> bytes:
            while True:
                pass

        yield play

    monkeypatch.setitem(TARGETS, "hanging", hanging)
    monkeypatch.setattr("tests.fuzz.__main__.LONGEST_S", 0.2)
    with pytest.raises(Hang):
        fuzz("hanging", 1, seed=1)


def test_so_is_waiting_for_ever_but_a_busy_machine_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def waiting() -> object:
        def play(dice: object) -> bytes:
            time.sleep(0.5)
            return b""

        yield play

    monkeypatch.setitem(TARGETS, "waiting", waiting)
    monkeypatch.setattr("tests.fuzz.__main__.LONGEST_S", 0.1)
    assert fuzz("waiting", 1, seed=1).inputs == 1
    monkeypatch.setattr("tests.fuzz.__main__.LONGEST_WALL_S", 0.3)
    with pytest.raises(Hang):
        fuzz("waiting", 1, seed=1)


# -- what it found -----------------------------------------------------------------------------------------------


def test_a_moment_beyond_all_calendars_is_a_dead_letter_and_stops_nobody() -> None:
    result = {"kind": "x", "value": 1, "before": 1, "after": 1, "id": "x", "account": "A", "threshold": "t"}
    for at_ms in ("9" * 30, 2**63, float("inf")):
        fields = {b"k": b"threshold", b"f": b"", b"r": msgpack.packb(result | {"at_ms": at_ms})}
        with pytest.raises(UnreadableEntry):
            record_of(decode_entry(0, b"1-1", fields))


@pytest.mark.parametrize(
    "data",
    [b"[" * 100_000, b"{" * 4000, b"[]", b'"x"', b"\xff", b'{"reply": 5}', b'{"reply": "rater:{0}:outbox"}',
     b'{"reply": "other:reply:1"}', b'{"do": "hangup", "reply": "rater:reply:1", "x": "' + b"y" * 5000 + b'"}'],
)  # fmt: skip
def test_a_request_that_is_none_is_ignored(data: bytes) -> None:
    assert parse_request(data, "rater") is None


def test_a_settings_file_cannot_steer_how_settings_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rater.toml"
    for key in ("_env_file", "_secrets_dir", "_cli_parse_args"):
        path.write_text(f"{key} = 'x'\n")
        with pytest.raises(ConfigError, match=key):
            load_settings(path)
