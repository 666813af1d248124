"""The calls of all switches of the load, and when each does what.

Open loop: calls begin when a Poisson process says so, whether or not earlier ones were answered, and latency counts
from the moment at which something was *to be* sent. If this process is late itself, that is in the figures too, and
shown beside them.
"""

from __future__ import annotations

import heapq
import time
from bisect import bisect
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

from bench.load.captures import BRIDGE, COMMAND, LINE, NUMBER, OTHER, SERIAL, SLOTS, STAMP, UNIQUE, Burst
from bench.load.histogram import Histogram
from bench.load.mix import Kind, Mix, Wait, Who
from bench.load.people import People, premium_number
from bench.load.port import Port
from bench.load.records import CallRecord, Fate, RecordFile

SECOND_NS = 1_000_000_000
SOON_NS = 20_000_000
GUARD_NS = 3 * SECOND_NS
"""How long the dialplan waits in the gate."""
GUARD, CHECK_TIMER, HANG_UP = -1, -2, -3
ASKING, RINGING, TALKING, OVER = range(4)
POOR_APART = 200
"""A poor line calls for the second time when so many others have called."""
_LISTED = (
    b"Channel: %b\r\nChannelState: %d\r\nChannelStateDesc: %b\r\nCallerIDNum: %b\r\nCallerIDName: <unknown>\r\n"
    b"ConnectedLineNum: <unknown>\r\nConnectedLineName: <unknown>\r\nLanguage: en\r\nAccountCode: %b\r\n"
    b"Context: %b\r\nExten: %b\r\nPriority: 8\r\nUniqueid: %b\r\nLinkedid: %b\r\nChanVariable: RATER_ACCOUNT=\r\n"
    b"Application: %b\r\nApplicationData: %b\r\nDuration: 00:00:01\r\nBridgeId: \r\n\r\n"
)


@dataclass(frozen=True)
class Lengths:
    """Of ringing and talk, in seconds: drawn evenly between two, or, with `mean_talk_s`, talk from an exponential
    distribution above `talk_s[0]`."""

    ring_s: tuple[float, float] = (0.05, 0.5)
    talk_s: tuple[float, float] = (1.7, 3.7)
    mean_talk_s: float | None = None

    def talk_ns(self, random: Random) -> int:
        low, high = self.talk_s
        if self.mean_talk_s is not None:
            return int((low + random.expovariate(1 / self.mean_talk_s)) * SECOND_NS)
        return int((low + (high - low) * random.random()) * SECOND_NS)

    def ring_ns(self, random: Random) -> int:
        low, high = self.ring_s
        return int((low + (high - low) * random.random()) * SECOND_NS)


@dataclass(slots=True)
class Window:
    """What is measured, between two moments of the monotonic clock."""

    begin_ns: int
    end_ns: int
    verdict: Histogram = field(default_factory=Histogram)
    """From a call's beginning to the gate's answer."""
    timer: Histogram = field(default_factory=Histogram)
    """From the answer of the far end to the timer on the billed leg."""
    lateness: Histogram = field(default_factory=Histogram)
    """How much later than it should this process sent."""
    offered: int = 0
    completed: int = 0
    events: int = 0
    fates: dict[str, int] = field(default_factory=dict)
    unanswered: int = 0
    """Questions and answers that got no reaction."""

    def holds(self, at_ns: int) -> bool:
        return self.begin_ns <= at_ns < self.end_ns


class Call:
    __slots__ = (
        "answered_us", "broken", "checking", "deadline_ns", "doubtful", "due_ns", "end_ns", "kind", "legs", "line",
        "names", "number", "reason", "state", "step", "talk_ns", "timer_due_ns", "values", "verdict",
    )  # fmt: skip


class Switch:
    """The calls of one switch, behind its port."""

    def __init__(self, world: World, index: int) -> None:
        self.index = index
        self.port = Port(time.monotonic_ns)
        self.port.calls = self
        self.channels: dict[bytes, Call] = {}
        self.serial = 0
        self._world = world

    def set_variable(self, channel: bytes, name: bytes, value: bytes) -> bool:
        call = self.channels.get(channel)
        if call is None:
            return False
        if name == b"RATER_VERDICT":
            call.verdict = value
        elif name == b"RATER_REASON":
            call.reason = value
        return True

    def agi(self, channel: bytes, command: bytes) -> bool:
        call = self.channels.get(channel)
        if call is None or call.state != ASKING:
            return False
        call.broken = command == b"ASYNCAGI BREAK"
        return True

    def set_timeout(self, channel: bytes, seconds: bytes) -> bool:
        call = self.channels.get(channel)
        if call is None:
            return False
        if call.state == ASKING:
            if call.broken:
                self._world.decided(self, call)
        elif call.state == TALKING and channel == call.names[call.kind.billed]:
            self._world.armed(self, call, int(float(seconds) * SECOND_NS))
        return True

    def hang_up(self, channel: bytes) -> bool:
        call = self.channels.get(channel)
        if call is None:
            return False
        self._world.interrupt(self, call)
        return True

    def connection_lost(self) -> None:
        self._world.lost.append((self.index, time.time()))

    def listing(self) -> Iterator[bytes]:
        """The channels as CoreShowChannels tells them."""
        for name, call in self.channels.items():
            values = call.values
            place = call.names.index(name)
            unique, first = values[UNIQUE + place], values[UNIQUE]
            line, number = values[LINE], values[NUMBER]
            up = call.state == TALKING
            if place:
                state = (6, b"Up") if up else (5, b"Ringing")
                yield _LISTED % (name, *state, b"+" + number, line, b"from-trunk", b"", unique, first,
                                 b"AppDial", b"(Outgoing Line)")  # fmt: skip
            else:
                state = (6, b"Up") if up else (4, b"Ring")
                asks = call.state == ASKING
                application = b"AGI" if asks else b"Dial"
                data = b"agi:async,+%b,out" % number if asks else b"PJSIP/+%b@trunk,60" % number
                place_in = (b"rater-ask", b"s") if asks else (b"lines", b"+" + number)
                yield _LISTED % (name, *state, line, line, *place_in, unique, first, application, data)


class World:
    """`step` does what is due and says when it wants to be called again."""

    def __init__(
        self, mix: Mix, people: People, switches: int, records: RecordFile, lengths: Lengths, seed: int = 1
    ) -> None:
        self.mix = mix
        self.people = people
        self.switches = [Switch(self, index) for index in range(switches)]
        self.live = 0
        self.asking = 0
        self.unarmed = 0
        self.reasons: dict[bytes, int] = {b"": 0}
        self.lost: list[tuple[int, float]] = []
        """Switches whose connection broke, and when."""
        self.window = Window(0, 0)
        self.lengths = lengths
        self.now_ns = time.monotonic_ns()
        self._records = records
        self._random = Random(seed)
        self._heap: list[tuple[int, int, Call, int]] = []
        self._serial = 0
        self._kinds_at = list(accumulate(kind.share for kind in mix.kinds))
        self._numbers = [number.encode() for number in people.all_numbers()]
        self._poor = 0
        self._rate = 0.0
        self._next_ns: int | None = None
        self._until_ns = 0
        self._all_hang_up = False
        self._wall_us = (time.time_ns() - time.monotonic_ns()) // 1000

    # -- time ----------------------------------------------------------------------------------------------------

    def offer(self, rate: float, until_ns: int) -> None:
        """From now on so many calls a second begin, until then."""
        self._rate, self._until_ns = rate, until_ns
        self._next_ns = time.monotonic_ns() + int(self._random.expovariate(rate) * SECOND_NS)

    @property
    def next_ns(self) -> int | None:
        first = self._heap[0][0] if self._heap else None
        if self._next_ns is None or first is None:
            return first if self._next_ns is None else self._next_ns
        return min(first, self._next_ns)

    def run_due(self) -> None:
        """Everything whose moment has come, in order."""
        heap = self._heap
        while True:
            self.now_ns = now_ns = time.monotonic_ns()
            begin_ns = self._next_ns
            if heap and heap[0][0] <= now_ns and (begin_ns is None or heap[0][0] <= begin_ns):
                due_ns, _, call, step = heapq.heappop(heap)
                if call.state != OVER:
                    self._do(call, step, due_ns)
            elif begin_ns is not None and begin_ns <= now_ns:
                self._begin(begin_ns)
                next_ns = begin_ns + int(self._random.expovariate(self._rate) * SECOND_NS)
                self._next_ns = next_ns if next_ns < self._until_ns else None
            else:
                return

    def _later(self, at_ns: int, call: Call, step: int) -> None:
        self._serial += 1
        heapq.heappush(self._heap, (at_ns, self._serial, call, step))

    # -- a call --------------------------------------------------------------------------------------------------

    def _begin(self, due_ns: int) -> None:
        kind = self.mix.kinds[min(bisect(self._kinds_at, self._random.random()), len(self.mix.kinds) - 1)]
        call = Call()
        call.kind, call.due_ns, call.state, call.step = kind, due_ns, ASKING, 0
        call.line, call.number = self._caller(kind), int(self._random.random() * len(self._numbers))
        call.reason = call.verdict = b""
        call.broken = call.doubtful = call.checking = False
        call.answered_us = call.deadline_ns = call.end_ns = call.timer_due_ns = 0
        call.legs = 0
        call.talk_ns = self._talk_ns(kind)
        switch = self.switches[call.line % len(self.switches)]
        self._name(switch, call)
        self.live += 1
        if self.window.holds(due_ns):
            self.window.offered += 1
            self.window.lateness.record(self.now_ns - due_ns)
        if not switch.port.attended:
            self._send(switch, call, self.mix.away)
            self._finish(switch, call, Fate.AWAY)
            return
        self.asking += 1
        call.doubtful = not switch.port.events_on
        self._send(switch, call, self.mix.begin)
        self._later(due_ns + GUARD_NS, call, GUARD)

    def _talk_ns(self, kind: Kind) -> int:
        """A poor caller would talk for longer than it can pay."""
        return 8 * SECOND_NS if kind.who is Who.POOR else self.lengths.talk_ns(self._random)

    def _caller(self, kind: Kind) -> int:
        if kind.who is not Who.POOR or not self.people.poor:
            return int(self._random.random() * self.people.usual)
        turn, again = divmod(self._poor, 2)
        self._poor += 1
        if again and turn >= POOR_APART:
            turn -= POOR_APART
        return self.people.usual + turn % self.people.poor

    def _name(self, switch: Switch, call: Call) -> None:
        line = b"%d" % (200_000 + call.line)
        other = b"%d" % (200_000 + (call.line + 1) % self.people.usual)
        kind = call.kind
        if kind.who is Who.BLOCKED:
            number = premium_number(call.number).encode()
        else:
            number = b"33142345678" if kind.who is Who.POOR else self._numbers[call.number]
        serial = switch.serial
        switch.serial += 3
        values = call.values = [b""] * SLOTS
        values[LINE], values[OTHER], values[NUMBER] = line, other, number
        values[COMMAND] = b"%d" % serial
        seconds = (self._wall_us + self.now_ns // 1000) // 1_000_000
        for place in range(3):
            values[SERIAL + place] = b"%08x" % (serial + place)
            values[UNIQUE + place] = b"%d.%d" % (seconds, serial + place)
        values[BRIDGE] = b"bf98e474-a27f-469b-9275-%012x" % serial
        values[BRIDGE + 1] = b"bf98e474-a27f-469b-9276-%012x" % serial
        trunk = b"PJSIP/trunk2-" if b"trunk2" in kind.allowed.template else b"PJSIP/trunk-"
        third = b"PJSIP/%b-" % other if kind.name == "transfer" else b"PJSIP/trunk-"
        call.names = [
            b"PJSIP/%b-%b" % (line, values[SERIAL]),
            trunk + values[SERIAL + 1],
            third + values[SERIAL + 2],
        ]
        switch.channels[call.names[0]] = call

    def _do(self, call: Call, step: int, due_ns: int) -> None:
        switch = self.switches[call.line % len(self.switches)]
        if step == CHECK_TIMER:
            self._check_timer(switch, call)
            return
        if step == GUARD:
            if call.state == ASKING:
                self._guard(switch, call)
            return
        if step == HANG_UP:
            self._cut(switch, call, Fate.ANSWERED)
            return
        doing = call.kind.steps[step]
        if self.window.holds(due_ns):
            self.window.lateness.record(self.now_ns - due_ns)
        if doing.dials:
            call.legs = 2
            switch.channels.pop(call.names[0 if call.kind.billed == 1 else 1], None)
            switch.channels[call.names[2]] = call
        self._send(switch, call, doing.burst)
        if doing.ends:
            self._finish(switch, call, Fate.ANSWERED if call.answered_us else Fate.UNANSWERED)
            return
        if doing.answers:
            call.state = TALKING
            call.answered_us = self._wall_us + self.now_ns // 1000
            call.timer_due_ns = due_ns
            call.end_ns = due_ns + call.talk_ns + SOON_NS
            self.unarmed += 1
            if self._all_hang_up:  # it rang when the others were told to
                self._later(due_ns + SOON_NS, call, HANG_UP)
        self._next_step(call, due_ns, step + 1)

    def _next_step(self, call: Call, due_ns: int, step: int) -> None:
        wait = call.kind.steps[step].wait
        if wait is Wait.SOON:
            delay_ns = SOON_NS
        elif wait is Wait.RING:
            delay_ns = self.lengths.ring_ns(self._random)
        else:
            delay_ns = call.talk_ns if wait is Wait.TALK else call.talk_ns // 2
        self._later(due_ns + delay_ns, call, step)

    # -- what the daemon does ------------------------------------------------------------------------------------

    def decided(self, switch: Switch, call: Call) -> None:
        """The gate's answer is complete: the dialplan goes on."""
        now_ns = self.now_ns = time.monotonic_ns()
        self.asking -= 1
        if self.window.holds(call.due_ns):
            self.window.verdict.record(now_ns - call.due_ns)
        if call.verdict != b"allow":
            self._send(switch, call, self.mix.denied)
            self._finish(switch, call, Fate.DENIED)
            return
        call.state = RINGING
        call.legs = 1
        switch.channels[call.names[1]] = call
        self._send(switch, call, call.kind.allowed)
        self._next_step(call, now_ns, 0)

    def armed(self, switch: Switch, call: Call, after_ns: int) -> None:
        """The switch's timer on the billed leg is set."""
        now_ns = time.monotonic_ns()
        call.deadline_ns = now_ns + after_ns
        if call.timer_due_ns:
            self._reacted(call, now_ns)
        if not call.checking and call.deadline_ns < call.end_ns:
            call.checking = True
            self._later(call.deadline_ns, call, CHECK_TIMER)

    def _reacted(self, call: Call, now_ns: int) -> None:
        if self.window.holds(call.timer_due_ns):
            self.window.timer.record(now_ns - call.timer_due_ns)
        call.timer_due_ns = 0
        self.unarmed -= 1

    def _check_timer(self, switch: Switch, call: Call) -> None:
        call.checking = False
        if call.deadline_ns > self.now_ns:
            if call.deadline_ns < call.end_ns:
                call.checking = True
                self._later(call.deadline_ns, call, CHECK_TIMER)
            return
        self._cut(switch, call, Fate.CUT)

    def interrupt(self, switch: Switch, call: Call) -> None:
        """A manager hangs up."""
        self.now_ns = time.monotonic_ns()
        if call.state == ASKING:
            self.asking -= 1
            self._send(switch, call, self.mix.guard)
            self._finish(switch, call, Fate.HUNG_UP)
        else:
            self._cut(switch, call, Fate.HUNG_UP)

    def hang_up_all(self, per_s: float) -> int:
        """Every party that talks puts the receiver down, so many a second. How many do."""
        talking = [c for s in self.switches for c in set(s.channels.values()) if c.state == TALKING]
        now_ns = time.monotonic_ns()
        self._all_hang_up = True
        for place, call in enumerate(talking):
            self._later(now_ns + int(place / per_s * SECOND_NS), call, HANG_UP)
        return len(talking)

    def _cut(self, switch: Switch, call: Call, fate: Fate) -> None:
        plain = call.kind.billed == 1 and call.legs == 1
        if call.answered_us:
            self._send(switch, call, self.mix.cut if plain else call.kind.steps[-1].burst)
        else:
            self._send(switch, call, self.mix.dropped)
        self._finish(switch, call, fate)

    def _guard(self, switch: Switch, call: Call) -> None:
        """Nobody answered: the dialplan goes by its own rule, which is closed."""
        self.asking -= 1
        if self.window.holds(call.due_ns):
            self.window.unanswered += 1
            self.window.verdict.record(self.now_ns - call.due_ns)
        self._send(switch, call, self.mix.guard)
        self._finish(switch, call, Fate.NO_VERDICT)

    def _send(self, switch: Switch, call: Call, burst: Burst) -> None:
        call.values[STAMP] = b"%d.%06d" % divmod(self._wall_us + self.now_ns // 1000, 1_000_000)
        if self.window.holds(self.now_ns):
            self.window.events += burst.events
        if switch.port.events_on:
            switch.port.out.append(burst.render(call.values))
        else:
            call.doubtful = True

    def _finish(self, switch: Switch, call: Call, fate: Fate) -> None:
        call.state = OVER
        self.live -= 1
        if call.timer_due_ns:
            if self.window.holds(call.timer_due_ns):
                self.window.unanswered += 1
            self._reacted(call, self.now_ns)
        for name in call.names:
            switch.channels.pop(name, None)
        if self.window.holds(self.now_ns):
            self.window.completed += 1
            name = call.kind.name if fate in (Fate.ANSWERED, Fate.UNANSWERED) else fate.name.lower()
            self.window.fates[name] = self.window.fates.get(name, 0) + 1
        seconds, _, serial = call.values[UNIQUE].partition(b".")
        reason = self.reasons.setdefault(call.reason, len(self.reasons))
        number = -1 if call.kind.who is not Who.USUAL else call.number
        self._records.write(
            CallRecord(
                switch.index, int(seconds), int(serial), call.line, number & 0xFFFFFFFF, fate, call.legs, reason,
                call.doubtful, call.answered_us, self._wall_us + self.now_ns // 1000,
            )
        )  # fmt: skip
