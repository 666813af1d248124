"""A switch's own list of its channels, beside what is known of them. Pure, also compiled.

Between the question and the answer, and while the answer is gone through piece by piece, events go on. What an
event told of a channel since the list was asked for is newer than the list: such a channel keeps what it has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from sys import intern

from rater.calls.signals import Grade, Seen
from rater.switch.ami_parse import EventFrame as Event
from rater.switch.ami_parse import Frame
from rater.switch.channels import STATE_UP, Channel, number_of
from rater.switch.gate import WAITING, Arguments, is_ours
from rater.switch.legs import Leg
from rater.switch.tracker import Tracker, event_of

_OUTGOING = ("AppDial", "AppQueue")
"""How the application of a dialled channel begins, as long as no dialplan runs on it."""
_OBSERVED, _RECONCILED = Grade.OBSERVED, Grade.RECONCILED


class Row:
    """One channel as it is listed."""

    def __init__(self, channel: Channel, frame: Event) -> None:
        self.channel = channel
        self.frame = frame

    @property
    def application(self) -> str:
        return self.frame.get("Application", "")

    @property
    def data(self) -> str:
        return self.frame.get("ApplicationData", "")

    @property
    def is_up(self) -> bool:
        return self.frame.channel_state == STATE_UP

    @property
    def was_dialled(self) -> bool:
        return self.channel.dialled or self.application.startswith(_OUTGOING)

    @property
    def question(self) -> Arguments | None:
        """What its dialplan asks in the gate, now."""
        if self.application != "AGI" or not self.data.startswith(WAITING):
            return None
        return self.data.split(",")[1:]

    def is_stranger(self) -> bool:
        """A leg or a question that nobody accounts for."""
        channel, application = self.channel, self.application
        if application == "AGI" and self.question is not None:
            return channel.gate is None or not channel.gate.asking
        return not channel.dialled and channel.leg is None and application.startswith(_OUTGOING)


class Listing:
    """`asked_ns`: when the list was asked for, monotonic. `at_ms`: switch time of the list. `visits`: rows gone
    through in search of others of the same call."""

    def __init__(self, tracker: Tracker, at_ms: int, asked_ns: int) -> None:
        self.rows: dict[str, Row] = {}
        """What is listed and lives, by uniqueid."""
        self.doubtful: list[Leg] = []
        """Legs that want a closer look, and those whose channel is not listed."""
        self.visits = 0
        self.at_ms = at_ms
        self._tracker = tracker
        self._asked_ns = asked_ns
        self._calls: dict[str, list[Row]] = {}

    def take(self, frames: Sequence[Frame]) -> None:
        """These are listed; the tracker's channels are brought up to date."""
        for frame in frames:
            self._take(event_of(frame))

    def _take(self, frame: Event) -> None:
        uniqueid, name, channels = frame.uniqueid, frame.channel, self._tracker.channels
        if not uniqueid or not name or frame.tampered is not None or uniqueid in channels.gone:
            return
        channel = channels.live.get(uniqueid)
        if channel is None:
            channel = channels.add(uniqueid, name, self._asked_ns - 1)
            channel.own_account_code = intern(frame.account_code or "")
            channel.exten = frame.exten or ""
        row = Row(channel, frame)
        if channel.told_ns < self._asked_ns:
            self._update(channel, frame)
            self._note_question(row)
        self.rows[uniqueid] = row
        others = self._calls.get(channel.linkedid)
        if others is None:
            self._calls[channel.linkedid] = [row]
        else:
            others.append(row)

    def _note_question(self, row: Row) -> None:
        """Its event may be lost, or on its way: a timer of ours would take the place of the gate's guard, and
        nobody would let the channel go until the next list shows the question again."""
        channel, question = row.channel, row.question
        if question is None:
            if channel.unheard:
                self._tracker.gate_passed(channel, self.at_ms)
        elif is_ours(question) and not channel.asks:
            channel.unheard = True

    def _update(self, channel: Channel, frame: Event) -> None:
        """No text is exchanged for its equal, see `Tracker._keep`."""
        channels = self._tracker.channels
        channels.rename(channel, frame.channel or channel.name)
        linkedid = frame.linkedid
        if linkedid and linkedid != channel.linkedid:
            first = channels.live.get(linkedid)
            channel.linkedid = first.uniqueid if first is not None else linkedid
        code = frame.account_code
        if code is not None and code != channel.account_code:
            channel.account_code = intern(code)
        if not channel.caller and frame.caller:
            channel.caller = "" if frame.caller == "<unknown>" else frame.caller
        self._tracker.note_variables(channel, frame.variables)

    # -- asking it -----------------------------------------------------------------------------------------------

    def is_told(self, channel: Channel) -> bool:
        """Whether an event told of it since the list was asked for: then events tell of it, not the list."""
        return channel.told_ns >= self._asked_ns

    def strangers(self, rows: Sequence[Row]) -> list[Row]:
        """Those of them that nobody accounts for now."""
        return [row for row in rows if row.is_stranger()]

    def of_call(self, linkedid: str) -> list[Row]:
        """The rows of one call."""
        found = self._calls.get(linkedid, [])
        self.visits += len(found)
        return found

    def look_at(self, legs: Sequence[Leg]) -> None:
        """Prove those legs alive whose own channel is listed; the others are `doubtful`."""
        for leg in legs:
            if not leg.ended:
                self._look_at(leg)

    def _look_at(self, leg: Leg) -> None:
        billed = leg.billed
        if billed is None or billed.hung_at_ms is not None:
            self.doubtful.append(leg)
            return
        row = self.rows.get(billed.uniqueid)
        if row is None:
            self.doubtful.append(leg)
        elif not leg.answered and row.is_up and billed.told_ns < self._asked_ns:
            self.answer(leg, billed, _RECONCILED)
        else:
            self._tracker.emit(leg, Seen(leg.id, self.at_ms))

    def answer(self, leg: Leg, billed: Channel, grade: Grade) -> None:
        """At the moment that an event showed, else now: the list does not tell since when a channel is up."""
        if billed.up_at_ms is not None:
            self._tracker.answered(leg, billed.up_at_ms, _OBSERVED)
        else:
            billed.up_at_ms = self.at_ms
            self._tracker.answered(leg, self.at_ms, grade)

    def bury_unlisted(self, channels: Sequence[Channel]) -> None:
        """Those that are not listed, and of which no event told since, are gone."""
        for channel in channels:
            if (
                channel.told_ns < self._asked_ns
                and channel.hung_at_ms is None
                and channel.uniqueid not in self.rows
            ):
                channel.hung_at_ms = self.at_ms
                self._tracker.internal.discard(channel.uniqueid)
                self._tracker.channels.bury(channel)

    def release(self, count: int) -> bool:
        """Let go of so many rows; False when none was left. To free thousands takes a while."""
        for _ in range(count):
            if not self.rows:
                return False
            row = self.rows.popitem()[1]
            self._calls.pop(row.channel.linkedid, None)
        return True

    def dialler(self, called: Channel) -> Row | None:
        """Whose application names the channel's endpoint, in the same call."""
        candidates = [
            row
            for row in self.of_call(called.linkedid)
            if row.channel is not called and not row.application.startswith(_OUTGOING)
        ]
        naming = [row for row in candidates if names(row.data, called)]
        return next(iter(naming or candidates), None)


def names(destination: str, called: Channel) -> bool:
    """Whether what an application was given leads to the channel's endpoint."""
    if called.is_local:
        return called.name.removeprefix("Local/").rpartition("-")[0] in destination
    return called.endpoint in re.split(r"[/@;&,]", destination)


def number_dialled(dialler: Row | None, called: Channel) -> str:
    """What `Dial` was told for that endpoint."""
    if dialler is None or dialler.application != "Dial":
        return ""
    for destination in dialler.data.split(",", 1)[0].split("&"):
        if names(destination, called):
            return number_of(destination)
    return ""
