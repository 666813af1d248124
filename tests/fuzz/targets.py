"""What is fuzzed: each target makes an input from dice, and gives it to the product. What is no documented refusal
is a finding."""

from __future__ import annotations

import contextlib
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
from rater_native import amiframe

from rater.catalog.files import read_catalog
from rater.catalog.pieces import from_pieces, to_pieces
from rater.config import load_settings
from rater.control import parse_request
from rater.errors import CatalogError, ConfigError, Problem
from rater.events.notices import record_of
from rater.events.stream import UnreadableEntry, decode_entry
from rater.rating.bands import EVERY_DAY, Band, Window
from rater.rating.compiled import CompiledDeck
from rater.rating.deck_format import Expected
from rater.rating.deck_rows import read as read_deck
from rater.switch import ami_parse
from rater.switch.ami_parse import LINE_LIMIT, SELECTION
from rater.switch.frames import Parser
from rater.switch.stamps import parse_timestamp
from tests.catalog.support import FILES
from tests.events.support import PER_SECOND, T0, leg_facts
from tests.fuzz.mutate import spoil_bytes, spoil_value
from tests.switch.support import capture_bytes, capture_names

Check = Callable[[random.Random], bytes]
"""Plays one input and gives it back, for the report of a failure; raises for a finding."""
ROOT = Path(__file__).parents[2]
COUNTERS = ("banner", "frames", "unknown", "garbage", "tampered", "oversized", "pending_bytes")


def ami() -> Iterator[Check]:
    """Frames as a real Asterisk sent them, spoilt: both parsers agree on frames and counters, however the bytes are
    cut, keep at most one line, and understand what comes next."""
    frames = [frame + b"\r\n\r\n" for name in capture_names() for frame in capture_bytes(name).split(b"\r\n\r\n")]
    hangup = b"\r\n--END COMMAND--\r\n\r\n\r\nEvent: Hangup\r\nChannel: a/b\r\nUniqueid: 5.5\r\nCause: 16\r\n\r\n"

    def play(dice: random.Random) -> bytes:
        samples = [b"".join(dice.choices(frames, k=dice.randrange(1, 4)))]
        data = spoil_bytes(dice, [*samples, dice.choice(frames)]) + hangup
        cuts = sorted(dice.randrange(len(data)) for _ in range(dice.randrange(6)))
        pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
        with told(data):
            compiled = _outcome(amiframe.FrameParser(SELECTION), pieces)
            assert compiled == _outcome(ami_parse.FrameParser(), pieces), "the parsers differ"
            assert compiled == _outcome(amiframe.FrameParser(SELECTION), [data]), "the pieces matter"
            got, counted = compiled
            assert got[-1].get("Uniqueid") == "5.5", "the parser did not recover"
            assert counted[-1] <= LINE_LIMIT
            for frame in got:
                parse_timestamp(frame.get("Timestamp", ""))
        return data

    yield play


def _outcome(parser: Parser, pieces: list[bytes]) -> tuple[list[dict[str, str]], list[Any]]:
    got = [frame for piece in pieces for frame in parser.feed(piece)]
    return got, [getattr(parser, name) for name in COUNTERS]


def decks() -> Iterator[Check]:
    """Price lists: read whole, or refused with places."""
    samples = [text.encode() for name, text in FILES.items() if name.startswith("decks/")]
    samples += [
        b"\n".join(path.read_bytes().split(b"\n")[:12]) for path in sorted(ROOT.glob("config/*/decks/*.csv"))
    ]
    classes = frozenset({"fixed", "mobile", "premium", "intl_fixed", "campus"})
    bands = (Band("peak", (Window(EVERY_DAY, 28_800, 72_000),)),)
    kinds = [Expected(ZoneInfo(zone), classes, bands) for zone in ("UTC", "America/Sao_Paulo")]

    def play(dice: random.Random) -> bytes:
        data = spoil_bytes(dice, samples)
        with told(data):
            found = read_deck(data, "deck.csv", dice.choice(kinds))
            if isinstance(found, CompiledDeck):
                assert len(CompiledDeck.from_bytes(found.to_bytes())) == len(found)
            else:
                _whole(found)
        return data

    yield play


def catalog() -> Iterator[Check]:
    """A whole catalogue with one of its files spoilt; and published catalogues, which come from Redis."""
    names = sorted(FILES)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            path = Path(folder, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        published = b"".join(to_pieces(read_catalog(Path(folder))))

        def play(dice: random.Random) -> bytes:
            if dice.randrange(4) == 0:
                data = spoil_bytes(dice, [published], most=3)
                with told(data), contextlib.suppress(CatalogError):
                    from_pieces((data,))
                return data
            name = dice.choice(names)
            path = Path(folder, name)
            data = spoil_bytes(dice, [FILES[name].encode()], most=4)
            path.write_bytes(data)
            try:
                with told(data):
                    read_catalog(Path(folder))
            except CatalogError as refusal:
                _whole(refusal.problems)
            finally:
                path.write_text(FILES[name])
            return data

        yield play


def _whole(problems: tuple[Problem, ...]) -> None:
    assert problems
    for problem in problems:
        assert problem.message
        assert problem.expected
        assert problem.line >= 0
        assert problem.column >= 0


def settings() -> Iterator[Check]:
    """The settings' file: read, or refused with a hint."""
    samples = [
        (ROOT / "config/rater.toml").read_bytes(),
        b"[redis]\nurl = 'rediss://u@h:1/0?ssl_ca_certs=x'\ncluster = true\npassword = { file = 'x' }\n",
        b"[[switch]]\nid = 'a'\nhost = '::1'\nport = 5039\ntls = true\nsecret = { env = 'X' }\n"
        b"warn_before_s = [60, 10]\n",
        b"[metrics]\nhost = '0.0.0.0'\ntoken = { file = 't' }\n[smtp]\nhost = 'h'\nfrom = 'A <a@example.com>'\n",
        b"[[webhook]]\nname = 'crm'\nurl = 'https://h/x'\nsecret = { env = 'X' }\nkinds = ['rated']\nbatch = 5\n",
        b"_env_file = 'x'\n_cli_parse_args = true\n_secrets_dir = '/'\n",
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rater.toml")

        def play(dice: random.Random) -> bytes:
            data = spoil_bytes(dice, samples, most=4)
            path.write_bytes(data)
            try:
                with told(data):
                    load_settings(path)
            except ConfigError as refusal:
                assert refusal.hint
            return data

        yield play


def messages() -> Iterator[Check]:
    """Entries of the outbox, requests to the daemon: understood, or refused for good."""
    facts = [leg_facts().pack(), leg_facts(reason="line_limit", steps=[]).pack()]
    result = {
        "amount_micro": 100_000, "pieces": [["local", 0, 5, 5], ["", 5, 10, 50_000]], "duration_s": 10,
        "granted_s": 30, "balance_before_micro": 10**6, "balance_after_micro": 900_000,
        "quote": PER_SECOND.to_wire(),
        "owner": "", "funds": [["", 0, 100_000]],
    }  # fmt: skip
    denied = {"reason": 51, "balance_micro": 0, "reserved_micro": 0}
    crossed = {
        "threshold": "low", "kind": 1, "value": 5, "grant": "", "before": 9, "after": 1, "account": "A",
        "at_ms": T0, "id": "x",
    }  # fmt: skip
    results = {b"rated": result, b"denied": denied, b"threshold": crossed}
    asked = [b'{"do": "hangup", "leg": "pbx1.b.1", "reply": "rater:reply:0123"}', b"[" * 30, b'{"reply": {}}']

    def play(dice: random.Random) -> bytes:
        if dice.randrange(5) == 0:
            data = spoil_bytes(dice, asked) * dice.choice((1, 1, 1, 200))
            with told(data):
                request = parse_request(data, "rater")
                assert request is None or request["reply"].startswith("rater:reply:")
            return data
        kind = dice.choice(tuple(results))
        fields = {b"k": kind, b"f": dice.choice(facts), b"r": msgpack.packb(results[kind])}
        name = dice.choice((b"f", b"r"))
        if dice.randrange(3):
            fields[name] = msgpack.packb(spoil_value(dice, msgpack.unpackb(fields[name])))
        else:
            fields[name] = spoil_bytes(dice, [fields[name]], most=3)
        with told(repr(fields).encode()), contextlib.suppress(UnreadableEntry):
            record_of(decode_entry(0, b"1-1", fields)).to_json()
        return repr(fields).encode()

    yield play


@contextlib.contextmanager
def told(data: bytes) -> Iterator[None]:
    """Ties an input to what it broke. Documented refusals pass through as they are."""
    try:
        yield
    except (CatalogError, ConfigError, UnreadableEntry):
        raise
    except BaseException as error:
        error.add_note(f"input: {data[:4000]!r}")
        raise


TARGETS: dict[str, Callable[[], Iterator[Check]]] = {
    "ami": ami, "decks": decks, "catalog": catalog, "settings": settings, "messages": messages
}  # fmt: skip
