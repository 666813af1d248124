"""AMI bytes to frames: the compiled parser, its twin, panoramisk's protocol, and a plain split of everything."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from panoramisk.ami_protocol import AMIProtocol
from pytest_benchmark.fixture import BenchmarkFixture
from rater_native import amiframe

from rater.switch import ami_parse

READ = 16 * 1024
"""Bytes of one read of a busy socket."""


class _Panoramisk:
    """Its protocol with a manager that takes the messages and does nothing with them, not even a task of each."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self._protocol = AMIProtocol()
        self._protocol.connection_made(asyncio.Transport())
        self._protocol.factory = self

    def dispatch(self, message: Any) -> None:
        self.messages.append(message)

    def feed(self, data: bytes) -> list[Any]:
        self.messages = []
        self._protocol.data_received(data)
        return self.messages


class _Split:
    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[dict[str, str]]:
        *blocks, self._rest = (self._rest + data).split(b"\r\n\r\n")
        return [
            {key: value for key, _, value in (line.partition(": ") for line in block.decode().split("\r\n"))}
            for block in blocks
        ]


PARSERS: dict[str, Callable[[], Any]] = {
    "compiled": lambda: amiframe.FrameParser(ami_parse.SELECTION),
    "twin": ami_parse.FrameParser,
    "panoramisk": _Panoramisk,
    "split": _Split,
}


@pytest.mark.parametrize("name", PARSERS)
def test_parse(benchmark: BenchmarkFixture, one_call: bytes, size: int, name: str) -> None:
    stream = one_call * min(size, 1000)
    reads = [stream[i : i + READ] for i in range(0, len(stream), READ)]

    def parse() -> int:
        parser = PARSERS[name]()
        return sum(len(parser.feed(read)) for read in reads)

    frames = benchmark(parse)
    benchmark.extra_info["events"] = stream.count(b"Event: ")
    assert frames >= stream.count(b"Event: Hangup\r\n"), "what ends a call is among them"
