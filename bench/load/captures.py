"""What a switch sends, taken from captures of a real one and made into templates.

A capture under ``tests/switch/captures`` is one call as Asterisk 22 reported it. Here its frames are cut into
*bursts* (what the switch sends at one moment), and everything that differs from call to call becomes a slot: times,
names and ids of channels, numbers, account codes, bridges. Sending a burst is then putting texts and values
together; a call has some 250 slots, and where the load generator runs compiled, so does this.

A trunk's own DeviceStateChange is left out: under load a trunk is always in use, and does not change.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "tests" / "switch" / "captures"
CAPTURED_NUMBER = b"33123456789"
PAUSE_S = 0.2
"""A pause this long in a capture is a moment of its own."""

STAMP, LINE, OTHER, NUMBER, COMMAND = range(5)
SERIAL = 5
"""Of the call's first, second and third channel: the eight hexadecimal digits at the end of its name …"""
UNIQUE = 8
"""… and its unique id."""
BRIDGE = 11
SLOTS = 13

Values = list[bytes]
Frame = tuple[str, bytes]


@dataclass(frozen=True, slots=True)
class Burst:
    """`texts` and `slots` by turns, beginning and ending with a text; `events`: how many it holds; `render` gives
    its bytes for the values of a call, one for each slot that there is."""

    texts: tuple[bytes, ...]
    slots: tuple[int, ...]
    events: int
    render: Callable[[Values], bytes]

    def holds(self, text: bytes) -> bool:
        """Whether there is such a text between two slots."""
        return any(text in part for part in self.texts)

    def then(self, other: Burst) -> Burst:
        texts = (*self.texts[:-1], self.texts[-1] + other.texts[0], *other.texts[1:])
        return burst_of(texts, self.slots + other.slots, self.events + other.events)


def burst_of(texts: tuple[bytes, ...], slots: tuple[int, ...], events: int) -> Burst:
    return Burst(texts, slots, events, _TEMPLATE(texts, slots))


def joined(texts: tuple[bytes, ...], slots: tuple[int, ...]) -> Callable[[Values], bytes]:
    """What puts these texts together with the values for those slots."""

    def render(values: Values) -> bytes:
        return b"".join(chain.from_iterable(zip(texts, (*map(values.__getitem__, slots), b""), strict=True)))

    return render


try:
    from bench.load.template import Template as _TEMPLATE
except ImportError:
    _TEMPLATE = joined


def bursts(capture: str) -> list[list[Frame]]:
    """The frames of a capture, cut where a switch would wait for something or somebody: for the gate's answer,
    before each further channel, before ringing, answer and hang-up, and wherever nothing came for a while."""
    cut: list[list[Frame]] = [[]]
    last_s, talking = 0.0, False
    for name, frame in _frames(capture):
        at_s = float(_header(frame, b"Timestamp") or last_s)
        state = _header(frame, b"ChannelState") if name == "Newstate" else b""
        begins = (
            (name == "Newchannel" and bool(cut[0]))
            or (name == "AGIExecStart" and not any(n == "AGIExecEnd" for n, _ in cut[-1]))
            or name == "HangupRequest"
            or state == b"5"
            or (state == b"6" and not talking)
            or (bool(cut[0]) and at_s - last_s > PAUSE_S)
        )
        if begins and cut[-1]:
            cut.append([])
            talking = False
        talking = talking or state == b"6"
        cut[-1].append((name, frame))
        last_s = at_s
    return cut


def join(*parts: Iterable[Frame]) -> list[Frame]:
    return [frame for part in parts for frame in part]


def compile_burst(frames: Sequence[Frame], identities: Sequence[tuple[bytes, int]]) -> Burst:
    """`identities`: what of the capture goes into which slot, see `identities_of`."""
    known = dict(identities)
    text = b"".join(frame for _, frame in frames)
    patterns = [
        rb"(?<=Timestamp: )\d+\.\d+",
        rb"(?<=CommandId: )\d+",
        *(
            re.escape(value)
            for value, _ in sorted(identities, key=lambda pair: -len(pair[0]))
            if value[:4] != b"100"
        ),
        rb"(?<=%20)100[12]|(?<![0-9.])100[12](?![0-9])",
    ]
    texts: list[bytes] = []
    slots: list[int] = []
    last = 0
    for found in re.finditer(b"|".join(patterns), text):
        value = found[0]
        before = text[: found.start()][-12:]
        if before.endswith(b"Timestamp: "):
            slot = STAMP
        elif before.endswith(b"CommandId: "):
            slot = COMMAND
        else:
            slot = known[value]
        texts.append(text[last : found.start()])
        slots.append(slot)
        last = found.end()
    texts.append(text[last:])
    return burst_of(tuple(texts), tuple(slots), len(frames))


def identities_of(capture: str) -> list[tuple[bytes, int]]:
    """What in a capture stands for whom: channels in the order of their appearance, and the rest."""
    found: dict[bytes, int] = {b"ACC1001": LINE, b"ACC1002": OTHER, b"1001": LINE, b"1002": OTHER}
    found[CAPTURED_NUMBER] = NUMBER
    channels = bridges = 0
    for name, frame in _frames(capture):
        if name == "Newchannel":
            found[_header(frame, b"Channel").rpartition(b"-")[2]] = SERIAL + channels
            found[_header(frame, b"Uniqueid")] = UNIQUE + channels
            channels += 1
        elif name == "BridgeCreate":
            found[_header(frame, b"BridgeUniqueid")] = BRIDGE + bridges
            bridges += 1
    return list(found.items())


def _frames(capture: str) -> Iterable[Frame]:
    data = (FOLDER / f"{capture}.ami").read_bytes().partition(b"\n")[2]
    for block in data.split(b"\r\n\r\n"):
        name = _header(block, b"Event").decode()
        if not name or name == "CoreShowChannelsComplete":
            continue
        if name == "DeviceStateChange" and b"/trunk" in block:
            continue
        yield name, block.lstrip(b"\r\n") + b"\r\n\r\n"


def _header(frame: bytes, name: bytes) -> bytes:
    found = re.search(rb"(?:^|\n)" + name + rb": ([^\r\n]*)", frame)
    return found[1] if found else b""
