"""Captures: the bytes that a switch sent, with one line in front that says which switch it was.

The first line is JSON, ``{"rater-capture": 1, "switch": ID, "boot": …, "asterisk": …, "at_ms": …, "masked": …}``;
``at_ms`` is the switch's time of the beginning. Everything behind it is the AMI stream as received, from after the
log-in on: the list of the channels that lived already, then events. So no secret of ours is in it.

Masking replaces the last `MASKED_DIGITS` digits of every number of at least `MASKED_FROM` digits and blanks
display names. The digits follow from the number's last `MASKED_FROM` and a key drawn for the capture, so one
subscriber stays one throughout, with or without access code and prefix, and cannot be looked up in another capture.
Lengths and prefixes stay, and with them destination and price. Short numbers, extensions and services, stay as they
are. That is a mask, not anonymity: who knows prefix and hour of a call may recognise it. Account codes and endpoint
names stay, since without them nobody pays; one that is itself a long number is masked, and then nobody does.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, unquote

from rater.errors import InputError

VERSION = 1
MASKED_DIGITS = 4
MASKED_FROM = 7
CHUNK = 65_536
_LINE_LIMIT = 1 << 20
_NUMBER = re.compile(rf"(?<![\w.-])(\+?)([0-9]{{{MASKED_FROM},32}})(?![\w.])", re.ASCII)
_UNMASKED = (
    "Event", "Response", "Privilege", "Timestamp", "ActionID", "ChannelState", "DestChannelState", "Priority",
    "Cause", "Duration", "ListItems", "BridgeId", "BridgeUniqueid", "CommandId",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CaptureHeader:
    switch: str
    boot: str
    asterisk: str
    at_ms: int
    masked: bool = False


class CaptureWriter:
    """Writes nothing before `begin`. Closed with the file that it was given."""

    def __init__(self, file: BinaryIO, *, mask: bool = False) -> None:
        self.written = 0
        self._file = file
        self._masker = Masker() if mask else None
        self._begun = False

    def begin(self, header: CaptureHeader) -> None:
        line = json.dumps({"rater-capture": VERSION, **asdict(header), "masked": self._masker is not None})
        self._file.write(line.encode() + b"\n")
        self._begun = True

    def write(self, data: bytes) -> None:
        if not self._begun:
            return
        if self._masker is not None:
            data = self._masker.feed(data)
        self._file.write(data)
        self.written += len(data)


class Masker:
    """Masks a stream; only whole lines come out."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(16)
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_LIMIT:
            self._rest = b""
        return b"".join(self._line(line) + b"\n" for line in lines)

    def _line(self, line: bytes) -> bytes:
        key, colon, value = line.decode("utf-8", "surrogateescape").partition(":")
        if not colon or key in _UNMASKED or key.endswith(("niqueid", "inkedid")):
            return line
        if key == "Env":
            text = quote("".join(map(self._env, re.split(r"(?<=\n)", unquote(value.strip())))), safe="")
            return f"{key}: {text}\r".encode()
        if key.endswith("Name") and key != "BridgeName" and value.strip() not in ("", "<unknown>"):
            return f"{key}: masked\r".encode()
        return f"{key}:{self.text(value)}".encode("utf-8", "surrogateescape")

    def _env(self, line: str) -> str:
        key, colon, value = line.partition(": ")
        if key in ("agi_uniqueid", "agi_threadid", "agi_version"):
            return line
        if key == "agi_calleridname":
            return f"{key}{colon}masked\n"
        return f"{key}{colon}{self.text(value)}"

    def text(self, text: str) -> str:
        """The text with its numbers masked."""
        return _NUMBER.sub(lambda match: match[1] + self._number(match[2]), text)

    def _number(self, digits: str) -> str:
        digest = hashlib.blake2b(digits[-MASKED_FROM:].encode(), key=self._key, digest_size=8).digest()
        tail = int.from_bytes(digest) % 10**MASKED_DIGITS
        return f"{digits[:-MASKED_DIGITS]}{tail:0{MASKED_DIGITS}d}"


def read_header(path: Path) -> tuple[CaptureHeader, int]:
    """The header, and how many bytes it takes. Raises InputError for a file that is no capture."""
    try:
        with path.open("rb") as file:
            line = file.readline(4096)
    except OSError as error:
        raise InputError(f"cannot read the capture {path}: {error.strerror}") from error
    wrong = InputError(
        f"{path} is no capture: its first line must be a JSON object with rater-capture = {VERSION}",
        hint="Captures are written by `rater record --switch ID --out FILE`.",
    )
    try:
        values = json.loads(line)
        if values.pop("rater-capture") != VERSION:
            raise wrong
        header = CaptureHeader(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise wrong from error
    if not isinstance(header.at_ms, int) or not all(map(str, (header.switch, header.boot))):
        raise wrong
    return header, len(line)


def read_stream(path: Path, skip: int) -> Iterator[bytes]:
    """What the switch sent, in pieces."""
    with path.open("rb") as file:
        file.seek(skip)
        while data := file.read(CHUNK):
            yield data
