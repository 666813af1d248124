"""The calls of all switches of the load, and when each does what.

Open loop: calls begin when a Poisson process says so, whether or not earlier ones were answered, and latency counts
from the moment at which something was *to be* sent. If this process is late itself, that is in the figures too, and
shown beside them.
"""

from __future__ import annotations

import time
from bisect import bisect
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import accumulate
from random import Random

from bench.load.captures import LINE, NUMBER, SERIAL, STAMP, UNIQUE, Burst
from bench.load.histogram import Histogram
from bench.load.mix import Kind, Mix, Wait, Who
from bench.load.people import POOR_NUMBER, People, premium_number
from bench.load.port import DECIDED, Calls, Port
from bench.load.records import NO_NUMBER, Fate, RecordFile

SECOND_NS = 1_000_000_000
SOON_NS = 20_000_000
GUARD_NS = 3 * SECOND_NS
"""How long the dialplan waits in the gate."""
CHECK_TIMER, HANG_UP = -1, -2
NEVER_NS = 1 << 62
ASKING, RINGING, TALKING, OVER = range(4)
# Members of enumerations that each call asks for: looked up through their class they cost a microsecond.
_SOON, _RING, _TALK = Wait.SOON, Wait.RING, Wait.TALK
_USUAL, _POOR = Who.USUAL, Who.POOR
_ANSWERED, _UNANSWERED, _CUT, _DENIED = Fate.ANSWERED, Fate.UNANSWERED, Fate.CUT, Fate.DENIED
_FATES = {fate: fate.name.lower() for fate in Fate if fate not in (_ANSWERED, _UNANSWERED)}
"""What calls are counted as that did not end as their kind does."""
_OWN = "%d %08x %08x %08x %d.%d %d.%d %d.%d bf98e474-a27f-469b-9275-%012x bf98e474-a27f-469b-9276-%012x"
"""What a call has of its own, in the order of its slots from `COMMAND` to the last."""
_MICROS = [b"%03d" % number for number in range(1000)]
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


class Window:
    """What is measured, between two moments of the monotonic clock. `verdict`: from a call's beginning to the
    gate's answer. `timer`: from the answer of the far end to the timer on the billed leg. `lateness`: how much
    later than it should this process sent. `unanswered`: questions and answers that got no reaction."""

    def __init__(self, begin_ns: int, end_ns: int) -> None:
        self.begin_ns, self.end_ns = begin_ns, end_ns
        self.verdict, self.timer, self.lateness = Histogram(), Histogram(), Histogram()
        self.offered = self.completed = self.events = self.unanswered = 0
        self.fates: dict[str, int] = {}

    def holds(self, at_ns: int) -> bool:
        return self.begin_ns <= at_ns < self.end_ns


class Call:
    """Times in ns of the monotonic clock, `answered_us` in µs of the switch's; 0 when there is none yet."""

    __slots__ = (
        "answered_us", "broken", "checking", "deadline_ns", "doubtful", "due_ns", "end_ns", "kind", "legs", "line",
        "names", "number", "reason", "seconds", "serial", "state", "switch", "talk_ns", "timer_due_ns", "values",
        "verdict",
    )  # fmt: skip


class Switch(Calls):
    """The calls of one switch, behind its port."""

    def __init__(self, world: World, index: int) -> None:
        self.index = index
        self.port = Port(time.monotonic_ns, self)
        self.channels: dict[bytes, Call] = {}
        self.serial = 0
        self._world = world

    def set_variable(self, channel: bytes, name: bytes, value: bytes) -> bool:
        call = self.channels.get(channel)
        if call is None:
            return False
        if name == DECIDED:
            call.reason, _, call.verdict = value.split(b",")
        return True

    def decide(self, channel: bytes, reason: bytes, verdict: bytes) -> bool:
        call = self.channels.get(channel)
        if call is None or call.state != ASKING:
            return False
        call.reason, call.verdict, call.broken = reason, verdict, True
        self._world.decided(self, call)
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
            self._world.armed(call, int(float(seconds) * SECOND_NS))
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
        self._guards: deque[Call] = deque()
        """Calls by the end of their time in the gate, `GUARD_NS` after their beginning; most have left it."""
        self._serial = 0
        self._kinds_at = list(accumulate(kind.share for kind in mix.kinds))
        self._lines = [people.line(index).encode() for index in range(people.usual + people.poor)]
        self._numbers = [number.encode() for number in people.all_numbers()]
        self._poor = 0
        self._rate = 0.0
        self._begin_ns = NEVER_NS
        """When the next call begins."""
        self._until_ns = 0
        self._all_hang_up = False
        self._stamp_ms, self._stamp_begin = -1, b""
        self._wall_us = (time.time_ns() - time.monotonic_ns()) // 1000

    # -- time ----------------------------------------------------------------------------------------------------

    def offer(self, rate: float, until_ns: int) -> None:
        """From now on so many calls a second begin, until then."""
        self._rate, self._until_ns = rate, until_ns
        self._begin_ns = time.monotonic_ns() + int(self._random.expovariate(rate) * SECOND_NS)

    @property
    def next_ns(self) -> int | None:
        first_ns = self._first_ns()
        return first_ns if first_ns < NEVER_NS else None

    def _first_ns(self) -> int:
        first_ns, guards = self._begin_ns, self._guards
        if self._heap and self._heap[0][0] < first_ns:
            first_ns = self._heap[0][0]
        if guards and guards[0].due_ns + GUARD_NS < first_ns:
            first_ns = guards[0].due_ns + GUARD_NS
        return first_ns

    def run_due(self) -> None:
        """Everything whose moment has come, in order."""
        heap, clock = self._heap, time.monotonic_ns
        while True:
            self.now_ns = now_ns = clock()
            due_ns = self._first_ns()
            if due_ns > now_ns:
                return
            if heap and heap[0][0] == due_ns:
                _, _, call, step = heappop(heap)
                if call.state != OVER:
                    self._do(call, step, due_ns)
            elif due_ns == self._begin_ns:
                self._begin(due_ns)
                next_ns = due_ns + int(self._random.expovariate(self._rate) * SECOND_NS)
                self._begin_ns = next_ns if next_ns < self._until_ns else NEVER_NS
            else:
                call = self._guards.popleft()
                if call.state == ASKING:
                    self._guard(call.switch, call)

    def _later(self, at_ns: int, call: Call, step: int) -> None:
        self._serial += 1
        heappush(self._heap, (at_ns, self._serial, call, step))

    # -- a call --------------------------------------------------------------------------------------------------

    def _begin(self, due_ns: int) -> None:
        draw = self._random.random
        kinds, guards, window = self.mix.kinds, self._guards, self.window
        kind = kinds[min(bisect(self._kinds_at, draw()), len(kinds) - 1)]
        call = Call()
        call.kind, call.due_ns, call.state = kind, due_ns, ASKING
        call.line = self._caller(kind)
        call.number = int(draw() * len(self._numbers))
        call.reason = call.verdict = b""
        call.broken = call.doubtful = call.checking = False
        call.answered_us = call.deadline_ns = call.end_ns = call.timer_due_ns = call.legs = 0
        # A poor caller would talk for longer than it can pay.
        call.talk_ns = 8 * SECOND_NS if kind.who is _POOR else self.lengths.talk_ns(self._random)
        call.switch = switch = self.switches[call.line % len(self.switches)]
        self._name(switch, call)
        self.live += 1
        if window.holds(due_ns):
            window.offered += 1
            window.lateness.record(self.now_ns - due_ns)
        if not switch.port.attended:
            self._send(switch, call, self.mix.away)
            self._finish(switch, call, Fate.AWAY)
            return
        self.asking += 1
        call.doubtful = not switch.port.events_on
        self._send(switch, call, self.mix.begin)
        guards.append(call)
        # One more than came, so that none is left of those that were answered.
        for _ in range(2):
            if guards[0].state != ASKING:
                guards.popleft()

    def _caller(self, kind: Kind) -> int:
        if kind.who is not _POOR or not self.people.poor:
            return int(self._random.random() * self.people.usual)
        turn, again = divmod(self._poor, 2)
        self._poor += 1
        if again and turn >= POOR_APART:
            turn -= POOR_APART
        return self.people.usual + turn % self.people.poor

    def _name(self, switch: Switch, call: Call) -> None:
        kind, lines = call.kind, self._lines
        line, other = lines[call.line], lines[(call.line + 1) % self.people.usual]
        if kind.who is _USUAL:
            number = self._numbers[call.number]
        else:
            number = POOR_NUMBER.encode() if kind.who is _POOR else premium_number(call.number).encode()
        call.serial = serial = switch.serial
        call.seconds = seconds = (self._wall_us + self.now_ns // 1000) // 1_000_000
        switch.serial += 3
        second, third = serial + 1, serial + 2
        own = _OWN % (
            serial,
            serial,
            second,
            third,
            seconds,
            serial,
            seconds,
            second,
            seconds,
            third,
            serial,
            serial,
        )
        call.values = values = [b"", line, other, number, *own.encode().split()]
        name = b"PJSIP/" + line + b"-" + values[SERIAL]
        of_third = b"PJSIP/" + other + b"-" if kind.name == "transfer" else b"PJSIP/trunk-"
        call.names = [name, kind.first_trunk + values[SERIAL + 1], of_third + values[SERIAL + 2]]
        switch.channels[name] = call

    def _do(self, call: Call, step: int, due_ns: int) -> None:
        switch = call.switch
        if step < 0:
            if step == CHECK_TIMER:
                self._check_timer(switch, call)
            else:
                self._cut(switch, call, _ANSWERED)
            return
        doing, window = call.kind.steps[step], self.window
        if window.holds(due_ns):
            window.lateness.record(self.now_ns - due_ns)
        if doing.dials:
            call.legs = 2
            switch.channels.pop(call.names[0 if call.kind.billed == 1 else 1], None)
            switch.channels[call.names[2]] = call
        self._send(switch, call, doing.burst)
        if doing.ends:
            self._finish(switch, call, _ANSWERED if call.answered_us else _UNANSWERED)
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
        if wait is _SOON:
            delay_ns = SOON_NS
        elif wait is _RING:
            delay_ns = self.lengths.ring_ns(self._random)
        else:
            delay_ns = call.talk_ns if wait is _TALK else call.talk_ns // 2
        self._serial += 1
        heappush(self._heap, (due_ns + delay_ns, self._serial, call, step))

    # -- what the daemon does ------------------------------------------------------------------------------------

    def decided(self, switch: Switch, call: Call) -> None:
        """The gate's answer is complete: the dialplan goes on."""
        now_ns = self.now_ns = time.monotonic_ns()
        window = self.window
        self.asking -= 1
        if window.holds(call.due_ns):
            window.verdict.record(now_ns - call.due_ns)
        if call.verdict != b"allow":
            self._send(switch, call, self.mix.denied)
            self._finish(switch, call, _DENIED)
            return
        call.state = RINGING
        call.legs = 1
        switch.channels[call.names[1]] = call
        self._send(switch, call, call.kind.allowed)
        self._next_step(call, now_ns, 0)

    def armed(self, call: Call, after_ns: int) -> None:
        """The switch's timer on the billed leg is set."""
        now_ns = time.monotonic_ns()
        call.deadline_ns = now_ns + after_ns
        if call.timer_due_ns:
            self._reacted(call, now_ns)
        if not call.checking and call.deadline_ns < call.end_ns:
            call.checking = True
            self._later(call.deadline_ns, call, CHECK_TIMER)

    def _reacted(self, call: Call, now_ns: int) -> None:
        window = self.window
        if window.holds(call.timer_due_ns):
            window.timer.record(now_ns - call.timer_due_ns)
        call.timer_due_ns = 0
        self.unarmed -= 1

    def _check_timer(self, switch: Switch, call: Call) -> None:
        call.checking = False
        if call.deadline_ns > self.now_ns:
            if call.deadline_ns < call.end_ns:
                call.checking = True
                self._later(call.deadline_ns, call, CHECK_TIMER)
            return
        self._cut(switch, call, _CUT)

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
        now_ns, window = self.now_ns, self.window
        if window.holds(now_ns):
            window.events += burst.events
        if switch.port.events_on:
            values = call.values
            values[STAMP] = self._stamp(self._wall_us + now_ns // 1000)
            switch.port.out.append(burst.render(values))
        else:
            call.doubtful = True

    def _stamp(self, at_us: int) -> bytes:
        """A moment as a switch writes it; those of the same millisecond begin alike."""
        at_ms = at_us // 1000
        if at_ms != self._stamp_ms:
            self._stamp_ms = at_ms
            self._stamp_begin = b"%d.%03d" % (at_ms // 1000, at_ms % 1000)
        return self._stamp_begin + _MICROS[at_us % 1000]

    def _finish(self, switch: Switch, call: Call, fate: Fate) -> None:
        now_ns, window, channels, kind = self.now_ns, self.window, switch.channels, call.kind
        call.state = OVER
        self.live -= 1
        if call.timer_due_ns:
            if window.holds(call.timer_due_ns):
                window.unanswered += 1
            self._reacted(call, now_ns)
        for name in call.names:
            channels.pop(name, None)
        if window.holds(now_ns):
            window.completed += 1
            counted = _FATES.get(fate, kind.name)
            window.fates[counted] = window.fates.get(counted, 0) + 1
        reason = self.reasons.setdefault(call.reason, len(self.reasons))
        number = call.number if kind.who is _USUAL else NO_NUMBER
        self._records.note(
            switch.index, call.seconds, call.serial, call.line, number, fate, call.legs, reason, call.doubtful,
            call.answered_us, self._wall_us + now_ns // 1000,
        )  # fmt: skip
