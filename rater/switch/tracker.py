"""Turns a switch's frames into signals. Pure: no socket, no clock; time arrives with the frames.

All Asterisk words end here. What is a leg, and when:

- A dial towards a trunk (``DialBegin`` whose destination's name matches a trunk) is an outbound leg. It takes over
  the attempt that waits since the gate, if the dialling channel asked there, or the channel behind a chain of Local
  ones did and the same account pays; otherwise it is an attempt of its own (watch).
- A dial from a trunk's channel to a line is an inbound leg. Local channels in between are looked through.
- A dial from outside to the outside has two: see `rater.switch.passage`.
- A dial from line to line is only counted.
- The payer is the *dialling* channel's account code at that moment, its endpoint, or its inherited variable. A
  trunk's channel that dials (a transfer to the outside) has no endpoint of its own: the line that sent it there
  answers for it, or the payer of the leg that it is.
- A leg is answered when its own channel goes up, whichever event shows that first, and over when that channel hangs
  up: when its far end did, if the channel outlasts that (a conference says good-bye, a dialplan's ``h`` runs). A
  gate's attempt that nobody dialled is over when its caller hangs up or asks anew.

Frames may repeat and overtake each other between channels (a channel was seen to ring before its ``DialBegin``).
So what a channel went through is kept on the channel, and told when its dial becomes known.

A frame marked as tampered with is not believed: nothing changes by it, except that an attempt in it is handed on
without payer and number, which denies it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from sys import intern

from rater.calls.signals import Direction, Grade, Mode, Payer, Signal
from rater.catalog.model import SwitchRules, Trunk
from rater.dialled import is_dialled
from rater.ids import SwitchId, TrunkId
from rater.switch.ami_parse import EventFrame as Event
from rater.switch.ami_parse import Frame
from rater.switch.channels import (
    FORWARDED_BY,
    STATE_UP,
    TRANSFERRED_BY,
    Channel,
    Trunks,
    endpoint_of,
    number_of,
    variable_of,
)
from rater.switch.frames import event_frame
from rater.switch.gate import Arguments, gate_arguments, is_inbound, is_ours, question_hash
from rater.switch.leg_table import LegTable
from rater.switch.legs import Leg
from rater.switch.passage import begin as begin_passing
from rater.switch.payer import doubt_own_code, line_payer, payer_of
from rater.switch.switch_time import SwitchTime
from rater.switch.texts import differ

_NEWCHANNEL, _NEWSTATE, _NEW_ACCOUNT_CODE, _DIAL_BEGIN, _DIAL_END, _HANGUP, _GATE_ASKS, _GATE_OVER = range(1, 9)
_BRIDGE_ENTER, _HANGUP_REQUEST, _DIAL_STATE, _RENAME, _BLIND_TRANSFER = range(9, 14)
_KINDS = {
    "Newchannel": _NEWCHANNEL, "Newstate": _NEWSTATE, "NewAccountCode": _NEW_ACCOUNT_CODE, "DialBegin": _DIAL_BEGIN,
    "DialEnd": _DIAL_END, "Hangup": _HANGUP, "AsyncAGIStart": _GATE_ASKS, "AsyncAGIEnd": _GATE_OVER,
    "BridgeEnter": _BRIDGE_ENTER, "HangupRequest": _HANGUP_REQUEST, "DialState": _DIAL_STATE, "Rename": _RENAME,
    "BlindTransfer": _BLIND_TRANSFER,
}  # fmt: skip
"""The events that are read."""
_TELL_THE_ANSWER = frozenset({"Newchannel", "Newstate", "DialEnd", "BridgeEnter"})
"""Events at the moment of an answer. Any other that shows a channel up comes later: those were missed."""
_CAUSES = {str(cause): cause for cause in range(128)}
_OUT, _IN = Direction.OUT, Direction.IN
_GATE, _SHADOW = Mode.GATE, Mode.SHADOW
_OBSERVED, _RECONCILED, _ESTIMATED = Grade.OBSERVED, Grade.RECONCILED, Grade.ESTIMATED


class Tracker(LegTable):
    """One switch, one life of it (`boot`). `mode`: WATCH or SHADOW for legs that did not pass the gate.

    `connected` must be called before the first frame of each connection.
    """

    def __init__(
        self, switch_id: SwitchId, boot: str, rules: SwitchRules, trunks: Iterable[Trunk], mode: Mode = Mode.WATCH
    ) -> None:
        dial_mode = Mode.SHADOW if mode is Mode.SHADOW else Mode.WATCH
        LegTable.__init__(self, switch_id, boot, Trunks(switch_id, trunks), dial_mode)
        self.rules = rules
        self.time = SwitchTime()
        self.internal: set[str] = set()
        """Line to line calls that live now, by the called channel."""
        self.internal_calls = 0
        self.strangers: set[str] = set()
        """Channels that the last list showed and no event explains, by uniqueid."""
        self.unknown_hangups = 0
        self.tampered_frames = 0
        self.foreign_questions = 0
        """AsyncAGI sessions that are not the gate's."""

    # -- set up --------------------------------------------------------------------------------------------------

    def connected(self, base_ms: int) -> None:
        """A connection begins; see `SwitchTime` for `base_ms`."""
        self.time = SwitchTime(base_ms)

    def set_rules(self, rules: SwitchRules, trunks: Iterable[Trunk]) -> bool:
        """A new catalogue. Legs that live are not touched; True when a dialled channel turned out to be a trunk's,
        so that the switch should be looked at."""
        self.rules = rules
        for channel in self.channels.live.values():
            channel.variables = None  # another one may be the payer's now
        before = {channel for channel in self.channels.live.values() if channel.trunk is None}
        self.channels.set_trunks(Trunks(self.switch, trunks))
        found = [channel for channel in before if channel.trunk is not None and channel.dialled]
        for channel in found:
            channel.dialled = False
            self.internal.discard(channel.uniqueid)
            self.strangers.add(channel.uniqueid)
        return bool(found)

    # -- frames --------------------------------------------------------------------------------------------------

    def feed(self, frame: Frame, arrived_ns: int) -> list[Signal]:
        """What a frame means. `arrived_ns`: time.monotonic_ns() when its bytes were read."""
        self._take(event_of(frame), arrived_ns)
        return self.take_signals()

    def feed_all(self, frames: Iterable[Frame], arrived_ns: int, on_signal: Callable[[Signal], object]) -> None:
        """The same of many, each signal being told before the next frame is looked at."""
        for frame in frames:
            self._take(event_of(frame), arrived_ns)
            if self._out:
                for signal in self.take_signals():
                    on_signal(signal)

    def _take(self, frame: Event, arrived_ns: int) -> None:
        kind = _KINDS.get(frame.event, 0)
        if kind == 0:
            return
        at_ms = self.time.at_ms(frame.stamp_ms, arrived_ns)
        if frame.tampered is not None:
            self.tampered_frames += 1
            if kind not in (_DIAL_BEGIN, _GATE_ASKS):
                return
        if kind <= _NEW_ACCOUNT_CODE:
            self._channel(frame, at_ms, arrived_ns)
        elif kind == _DIAL_BEGIN:
            self._dial_begin(frame, at_ms, arrived_ns)
        elif kind == _DIAL_END:
            self._dial_end(frame, at_ms, arrived_ns)
        elif kind == _HANGUP:
            self._hangup(frame, at_ms)
        elif kind == _GATE_ASKS:
            self._gate_asks(frame, at_ms, arrived_ns)
        elif kind == _GATE_OVER:
            self._gate_over(frame, at_ms, arrived_ns)
        else:
            self._take_rare(kind, frame, at_ms, arrived_ns)

    def _take_rare(self, kind: int, frame: Event, at_ms: int, arrived_ns: int) -> None:
        if kind == _BRIDGE_ENTER:
            self._bridge_enter(frame, at_ms, arrived_ns)
        elif kind == _HANGUP_REQUEST:
            self._let_go(frame, at_ms, arrived_ns)
        elif kind == _DIAL_STATE:
            self._channel(frame, at_ms, arrived_ns)
            self._destination(frame, at_ms, arrived_ns)
        elif kind == _RENAME:
            self._rename(frame, arrived_ns)
        elif kind == _BLIND_TRANSFER:
            self._blind_transfer(frame)

    # -- channels ------------------------------------------------------------------------------------------------

    def _channel(self, frame: Event, at_ms: int, arrived_ns: int) -> Channel | None:
        """The channel that a frame is about, brought up to date."""
        if not frame.uniqueid or not frame.channel:
            return None
        channel = self.channels.find(frame.uniqueid)
        if channel is None:
            channel = self._begin(frame.uniqueid, frame.channel, frame.account_code, arrived_ns)
            channel.exten = frame.exten or ""
            if frame.event == "Newchannel":
                channel.born_state = frame.channel_state or ""
        elif channel.hung_at_ms is not None:
            return channel
        channel.told_ns = arrived_ns
        self._keep(channel, frame.linkedid, frame.account_code, frame.variables, frame)
        caller = frame.caller
        if caller is not None and differ(caller, channel.caller):
            channel.caller = "" if caller == "<unknown>" else caller
        if channel.up_at_ms is None and frame.channel_state == STATE_UP:
            self._show_up(channel, frame, at_ms)
        return channel

    def _destination(self, frame: Event, at_ms: int, arrived_ns: int) -> Channel | None:
        """Likewise the channel that a frame says is dialled."""
        if not frame.dest_uniqueid or not frame.dest_channel:
            return None
        channel = self.channels.find(frame.dest_uniqueid)
        if channel is None:
            channel = self._begin(frame.dest_uniqueid, frame.dest_channel, frame.dest_account_code, arrived_ns)
        elif channel.hung_at_ms is not None:
            return channel
        channel.told_ns = arrived_ns
        self._keep(channel, frame.dest_linkedid, frame.dest_account_code, frame.dest_variables, frame)
        if channel.up_at_ms is None and frame.dest_channel_state == STATE_UP:
            self._show_up(channel, frame, at_ms)
        return channel

    def _begin(self, uniqueid: str, name: str, account_code: str | None, arrived_ns: int) -> Channel:
        channel = self.channels.add(uniqueid, name, arrived_ns)
        channel.own_account_code = channel.account_code = intern(account_code or "")
        return channel

    def _keep(
        self, channel: Channel, linkedid: str | None, account_code: str | None, variables: str | None, frame: Event
    ) -> None:
        """Texts that other channels have too are kept once, and none is exchanged for its equal: of 100,000 live
        calls nothing else is as large."""
        if linkedid and differ(linkedid, channel.linkedid):
            first = self.channels.live.get(linkedid)
            channel.linkedid = first.uniqueid if first is not None else linkedid
        if account_code is not None and differ(account_code, channel.account_code):
            channel.account_code = intern(account_code)
        lines = variables or frame.variables_of(channel.name)
        if lines and (channel.variables is None or differ(lines, channel.variables)):
            self.note_variables(channel, lines)

    def _show_up(self, channel: Channel, frame: Event, at_ms: int) -> None:
        self._up(channel, at_ms, _OBSERVED if frame.event in _TELL_THE_ANSWER else _RECONCILED)

    def note_variables(self, channel: Channel, lines: str | None) -> None:
        """What the channel carries: its payer, and who sent it where it is now. The latter comes with the first
        event from there; the switch's own word of a transfer or a forward may come later."""
        if not lines or lines == channel.variables:
            return
        channel.variables = intern(lines)
        channel.variable = variable_of(lines, self.rules.payer_variable) or channel.variable
        name = variable_of(lines, FORWARDED_BY if channel.is_local else TRANSFERRED_BY)
        if not name or name == channel.moved_by:
            return
        channel.moved_by = name
        mover = self.channels.once_named(name)
        if not channel.is_local:
            if mover is not None:
                self._sent(channel, mover)
            elif self.channels.trunks.of(name) is None and endpoint_of(name):
                channel.sent_by = Payer("", endpoint_of(name), "")  # it was gone before anything was heard of it
        elif mover is not None and mover.trunk is None and not mover.is_local:
            channel.forwarded_by, channel.handed_down = line_payer(mover), mover.account_code

    def _bridge_enter(self, frame: Event, at_ms: int, arrived_ns: int) -> None:
        channel = self._channel(frame, at_ms, arrived_ns)
        if channel is not None:
            channel.bridge = frame.bridge or ""

    def _let_go(self, frame: Event, at_ms: int, arrived_ns: int) -> None:
        channel = self._channel(frame, at_ms, arrived_ns)
        if channel is not None and channel.let_go_at_ms is None:
            channel.let_go_at_ms = at_ms

    def _rename(self, frame: Event, arrived_ns: int) -> None:
        """A masquerade swapped names; the uniqueid says which channel is meant."""
        channel = self.channels.live.get(frame.uniqueid or "")
        if channel is not None and frame.newname:
            self.channels.rename(channel, frame.newname)
            channel.variables = None  # a Local channel's are read in another way
            channel.let_go_at_ms = None
            channel.told_ns = arrived_ns

    def _up(self, channel: Channel, at_ms: int, grade: Grade) -> None:
        if channel.up_at_ms is None:
            channel.up_at_ms = at_ms
            leg = channel.leg
            if leg is not None and not leg.passes:
                self.answered(leg, at_ms, grade)

    def _hangup(self, frame: Event, at_ms: int) -> None:
        channel = self.channels.live.get(frame.uniqueid or "")
        if channel is None:
            self.unknown_hangups += (frame.uniqueid or "") not in self.channels.gone
            return
        channel.cause = _cause_of(frame.cause)
        if channel.let_go_at_ms is not None:
            at_ms = min(at_ms, channel.let_go_at_ms)
        channel.hung_at_ms = at_ms
        leg = channel.leg
        if channel.up_at_ms is None and frame.channel_state == STATE_UP:
            # It was answered and that was missed; when, nobody knows. The caller gets the benefit.
            channel.up_at_ms = at_ms
            if leg is not None and not leg.passes:
                self.answered(leg, at_ms, _ESTIMATED)
        self.internal.discard(channel.uniqueid)
        if leg is not None:
            self.end(leg, at_ms, channel.cause, channel.dial_status)
        if channel.gate is not None or channel.gate_in is not None:
            for gate in channel.undialled:
                self.end(gate, at_ms, channel.cause, "CANCEL")
        self.channels.bury(channel)

    # -- dialling ------------------------------------------------------------------------------------------------

    def _dial_begin(self, frame: Event, at_ms: int, arrived_ns: int) -> None:
        if frame.tampered is not None:
            self._tampered_dial(frame, at_ms, arrived_ns)
            return
        dialler = self._channel(frame, at_ms, arrived_ns)
        called = self._destination(frame, at_ms, arrived_ns)
        if called is not None:
            self._dial(dialler, called, frame, at_ms, arrived_ns)

    def _dial_end(self, frame: Event, at_ms: int, arrived_ns: int) -> None:
        """Also shows a channel that took a ringing one's place (pickup): it was never dialled, yet it answers; and
        a telephone that forwards: the next channel that is dialled instead is its doing."""
        dialler = self._channel(frame, at_ms, arrived_ns)
        called = self._destination(frame, at_ms, arrived_ns)
        if called is None or called.hung_at_ms is not None:
            return
        called.dial_status = intern(frame.dial_status or "")
        if dialler is not None and frame.forward and called.trunk is None and not called.is_local:
            dialler.forwarder = line_payer(called)
        if called.dial_status == "ANSWER":
            if not called.dialled:
                called.up_at_ms = at_ms
                self._dial(dialler, called, frame, at_ms, arrived_ns)
            self._up(called, at_ms, _OBSERVED)

    def _dial(self, dialler: Channel | None, called: Channel, frame: Event, at_ms: int, arrived_ns: int) -> None:
        if called.dialled:
            return
        called.dialled = True
        called.dialler = dialler
        if dialler is not None and dialler.unheard:
            self.gate_passed(dialler, at_ms)
        doubt_own_code(called)
        if dialler is not None and dialler.forwarder is not None:
            called.forwarded_by, dialler.forwarder = dialler.forwarder, None
        if called.leg is not None or (called.is_local and called.trunk is None):
            return
        if called.trunk is not None:
            # Only a DialEnd has no dial string: its DialBegin was missed; what was dialled is the best there is.
            dialled = frame.dial_string
            number = number_of(dialled) if dialled is not None else frame.exten or ""
            self._outbound(dialler, called, called.trunk, number, at_ms, arrived_ns)
            return
        origin = self.channels.origin(dialler) if dialler is not None else None
        if dialler is not None and origin is not None and origin.trunk is not None:
            number = "" if origin.dialled else origin.exten
            if not is_dialled(number):
                number = frame.exten or ""
            if not is_dialled(number):
                number = number_of(frame.dial_string or "")
            self._inbound(dialler, origin, called, number, at_ms, arrived_ns)
        elif called.hung_at_ms is None:
            self.internal.add(called.uniqueid)
            self.internal_calls += 1

    def _outbound(
        self, dialler: Channel | None, called: Channel, trunk: TrunkId, number: str, at_ms: int, arrived_ns: int
    ) -> None:
        payer = payer_of(self.channels, dialler, called)
        leg = self._take_over(dialler, payer)
        if leg is None:
            leg = self.attempt(called, dialler, payer, _OUT, number, trunk, at_ms, arrived_ns)
        self.own(leg, called, trunk, at_ms)
        begin_passing(self, leg, at_ms)

    def _inbound(
        self, dialler: Channel, origin: Channel, called: Channel, number: str, at_ms: int, arrived_ns: int
    ) -> None:
        assert origin.trunk is not None
        payer = line_payer(called)
        leg = origin.gate_in
        if leg is None or not leg.open or leg.payer.endpoint != called.endpoint:
            leg = self.attempt(called, origin, payer, _IN, number, origin.trunk, at_ms, arrived_ns)
        self.own(leg, called, origin.trunk, at_ms)

    def _take_over(self, dialler: Channel | None, payer: Payer) -> Leg | None:
        """The attempt that waits since the gate, for the channel that dials now. Behind a Local channel stands
        perhaps another payer than the one who asked (a forward): then it is not that attempt."""
        channel, direct = dialler, True
        for _ in range(16):
            if channel is None:
                break
            gate = channel.gate
            if gate is not None and gate.open and gate.direction is _OUT:
                return gate if direct or gate.payer.account_code == payer.account_code else None
            channel, direct = self.channels.upstream(channel), False
        return None

    def _tampered_dial(self, frame: Event, at_ms: int, arrived_ns: int) -> None:
        """Deny it, if its channel is known from frames that can be believed."""
        called = self.channels.named(frame.dest_channel or "")
        if called is None or called.dialled or called.trunk is None:
            return
        called.dialled = True
        called.dialler = dialler = self.channels.named(frame.channel or "")
        leg = self.attempt(called, dialler, Payer(), _OUT, "", called.trunk, at_ms, arrived_ns)
        self.own(leg, called, called.trunk, at_ms)

    def _blind_transfer(self, frame: Event) -> None:
        """A line sends its partner elsewhere: it pays for where that leads."""
        sent = self.channels.live.get(frame.transferee_uniqueid or "")
        if sent is not None and (frame.result is None or frame.result == "Success"):
            self._sent(sent, self.channels.find(frame.transferer_uniqueid or ""))

    def _sent(self, channel: Channel, sender: Channel | None) -> None:
        if sender is not None and sender.trunk is None and not sender.is_local:
            channel.sent_by = line_payer(sender)

    # -- the gate ------------------------------------------------------------------------------------------------

    def _gate_asks(self, frame: Event, at_ms: int, arrived_ns: int) -> None:
        env = frame.env or ""
        if frame.tampered is not None:
            channel = self.channels.named(frame.channel or "")
            arguments = None
        else:
            channel = self._channel(frame, at_ms, arrived_ns)
            arguments = gate_arguments(env)
        if channel is None or channel.hung_at_ms is not None:
            return
        if self._dial_mode is _SHADOW or (arguments is not None and not is_ours(arguments)):
            self.foreign_questions += 1
            return
        stamp = frame.timestamp or ""
        asked = question_hash(stamp, env)
        if asked == channel.asked and (stamp or (channel.gate is not None and channel.gate.asking)):
            return
        channel.asked = asked
        self.ask(channel, arguments, at_ms, arrived_ns)

    def ask(self, channel: Channel, arguments: Arguments | None, at_ms: int, arrived_ns: int) -> None:
        """The dialplan asks with these arguments; None: they cannot be believed."""
        inbound = arguments is not None and is_inbound(arguments)
        for gate in channel.undialled:
            if inbound or gate is not channel.gate_in:
                self.end(gate, at_ms, 0, "CANCEL")
        if arguments is None:
            payer, number = Payer(), ""
        elif inbound:
            payer, number = Payer("", arguments[2], ""), arguments[0]
        else:
            payer, number = payer_of(self.channels, channel, channel), arguments[0] if arguments else channel.exten
        direction = _IN if inbound else _OUT
        trunk = channel.trunk if inbound else None
        leg = self.attempt(channel, channel, payer, direction, number, trunk, at_ms, arrived_ns, _GATE)
        leg.asking = leg.open = True
        channel.unheard = False
        channel.gate = leg
        channel.gate_in = leg if inbound else channel.gate_in

    def _gate_over(self, frame: Event, at_ms: int, arrived_ns: int) -> None:
        channel = self._channel(frame, at_ms, arrived_ns)
        if channel is not None:
            self.gate_passed(channel, at_ms)


def event_of(frame: Frame) -> Event:
    """As a structure, however it came."""
    if isinstance(frame, dict):
        return event_frame(frame)
    return frame  # type: ignore[return-value]  # a `cast` would be called


def _cause_of(text: str | None) -> int:
    """The Q.850 cause in a header; 0 when there is none."""
    cause = _CAUSES.get(text or "", -1)
    if cause < 0:
        cause = int(text) if text is not None and text.isdecimal() else 0
    return cause
