"""A switch's list of channels while calls are talked, as it comes once a minute: everything behind the socket.

    python -m bench.micro.listing 2500 5            2,500 calls of one switch, listed 5 times

Printed are the processor time of a list and the longest stretch of it for which nothing else got its turn.
"""

from __future__ import annotations

import asyncio
import gc
import re
import sys
import time
from typing import Any

from bench.load.captures import COMMAND, LINE, NUMBER, OTHER, SERIAL, SLOTS, STAMP, UNIQUE, Values
from bench.load.mix import mix
from bench.load.people import People
from bench.load.world import _LISTED
from bench.micro.daemon_side import _ACTION_ID, _SCRIPT, LINES, REDIS, REPLIES, T0_MS, Read, Site, catalog_of

READ = 256 * 1024
"""As much as one read of the loop brings."""
_LIST_ID = re.compile(rb"Action: CoreShowChannels\r\n(?:[^\r]+\r\n)*?ActionID: ([^\r]+)")
_CHANNEL = re.compile(rb"Uniqueid: ([^\r]+)")


class Listed:
    """So many calls that talk on one switch, and a switch that lists them."""

    def __init__(self, calls: int) -> None:
        people = People(LINES, 10)
        self.site = Site(catalog_of(people))
        self.adapter = self.site.adapters[0]
        kinds = mix()
        steps = [kinds.begin, kinds.kinds[0].allowed, *(step.burst for step in kinds.kinds[0].steps[:-1])]
        numbers = people.all_numbers()
        self.calls = [_values(call, numbers[call % len(numbers)].encode()) for call in range(calls)]
        for values in self.calls:
            for step in steps:
                self.site.feed(Read(0, 0, step.render(values)))
                self._answer()
        self.rows = [row for values in self.calls for row in _rows(values)]

    def _answer(self) -> None:
        site, wire = self.site, self.site.wires[0]
        while site.redis.written or wire.written:
            if site.redis.written:
                told = b"".join(site.redis.written)
                site.redis.written.clear()
                site.feed(Read(0, REDIS, b"".join(REPLIES[name] for name in _SCRIPT.findall(told))))
            if wire.written:
                told = b"".join(wire.written)
                wire.written.clear()
                site.feed(Read(0, 0, _answers(told)))

    async def list_once(self) -> list[float]:
        """The processor time of each turn of the loop, in milliseconds."""
        turns: list[float] = []
        loop: Any = asyncio.get_running_loop()
        run_once = loop._run_once

        def timed() -> None:
            begun_s = time.thread_time()
            run_once()
            turns.append((time.thread_time() - begun_s) * 1e3)

        loop._run_once = timed
        resync = asyncio.create_task(self.adapter._resync())
        wire = self.site.wires[0]
        while not resync.done():
            if wire.written:
                told = b"".join(wire.written)
                wire.written.clear()
                asked = _LIST_ID.search(told)
                data = await asyncio.to_thread(self._list, asked[1]) if asked is not None else _answers(told)
                for start in range(0, len(data), READ):
                    await asyncio.sleep(0)
                    self.site.received[0](data[start : start + READ])
            await asyncio.sleep(0.001)
        await resync
        loop._run_once = run_once
        return turns

    def _list(self, name: bytes) -> bytes:
        head = b"Event: CoreShowChannel\r\nActionID: " + name + b"\r\n"
        return b"".join([
            b"Response: Success\r\nActionID: " + name + b"\r\nEventList: start\r\n",
            b"Message: Channels will follow\r\n\r\n",
            *(head + row for row in self.rows),
            b"Event: CoreShowChannelsComplete\r\nActionID: " + name
            + b"\r\nEventList: Complete\r\nListItems: %d\r\n\r\n" % len(self.rows),
        ])  # fmt: skip


def _values(call: int, number: bytes) -> Values:
    values: Values = [b""] * SLOTS
    values[LINE], values[OTHER], values[NUMBER] = b"%d" % (200_000 + call % LINES), b"200001", number
    values[COMMAND] = b"%d" % call
    for place in range(3):
        values[SERIAL + place] = b"%08x" % (3 * call + place)
        values[UNIQUE + place] = b"%d.%d" % (T0_MS // 1000, 3 * call + place)
    values[-2], values[-1] = (b"bf98e474-a27f-469b-927%d-%012x" % (place, call) for place in (5, 6))
    values[STAMP] = b"%d.000000" % (T0_MS // 1000)
    return values


def _rows(values: Values) -> list[bytes]:
    line, number, first = values[LINE], values[NUMBER], values[UNIQUE]
    return [
        _LISTED % (b"PJSIP/%b-%b" % (line, values[SERIAL]), 6, b"Up", line, line, b"lines", b"+" + number, first,
                   first, b"Dial", b"PJSIP/+%b@trunk,60" % number),
        _LISTED % (b"PJSIP/trunk-%b" % values[SERIAL + 1], 6, b"Up", b"+" + number, line, b"from-trunk", b"",
                   values[UNIQUE + 1], first, b"AppDial", b"(Outgoing Line)"),
    ]  # fmt: skip


def _answers(told: bytes) -> bytes:
    answer = b"Response: Success\r\nActionID: %b\r\nMessage: Timeout Set\r\n\r\n"
    return b"".join(answer % name for name in _ACTION_ID.findall(told))


async def _main(calls: int, times: int) -> None:
    listed = Listed(calls)
    tracker = listed.adapter.tracker
    print(f"{len(tracker.channels.live)} channels, {len(tracker.legs)} legs")
    gc.collect()
    gc.freeze()
    for _ in range(times):
        turns = sorted(await listed.list_once())
        print(f"{sum(turns):.1f} ms, longest turns {turns[-1]:.1f} {turns[-2]:.1f} {turns[-5]:.1f} ms")
    print(f"{len(tracker.channels.live)} channels, {len(tracker.legs)} legs")


if __name__ == "__main__":
    asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2])))
