"""The switch's channels as the tracker knows them, and how their names are read. Pure.

A channel is known by its uniqueid; its name serves for actions and for finding the other half of a Local
channel (``Local/1@c-0000;1`` and ``;2``). Channels that hung up are remembered for a while: events of different
channels may overtake each other, and a snapshot of the switch may name what is gone already.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import translate
from typing import TYPE_CHECKING

from rater.calls.signals import Payer
from rater.catalog.model import Trunk
from rater.dialled import is_dialled
from rater.ids import SwitchId, TrunkId

if TYPE_CHECKING:
    from rater.switch.legs import Leg

TRANSFERRED_BY, FORWARDED_BY = "BLINDTRANSFER", "FORWARDERNAME"
"""The variables in which the switch leaves, on a channel sent elsewhere and on the Local channel of a telephone's
forward, the name of the channel that did it."""
STATE_DOWN, STATE_UP = "0", "6"
"""AST_STATE_DOWN: what the switch dials begins so. AST_STATE_UP: answered."""
GONE_KEPT = 4096
_TECHNOLOGY = re.compile(r"(?:PJSIP|SIP|IAX2|DAHDI|OOH323|H323|Motif|Skinny|MGCP|USTM|Phone|Console|mISDN)/")


def endpoint_of(name: str) -> str:
    """``1001`` of ``PJSIP/1001-0000002f``; empty for a Local channel, behind which another one stands."""
    begin = name.find("/") + 1
    if not begin or name.startswith("Local/"):
        return ""
    end = len(name) - 2 if name.endswith((";1", ";2")) else len(name)
    instance = end
    while instance > begin and name[instance - 1] in "0123456789abcdef":
        instance -= 1
    if begin < instance < end and name[instance - 1] == "-":
        return name[begin : instance - 1]
    return name[begin:]


def number_of(dialled: str) -> str:
    """The number in what `Dial` was given for one destination; empty when there is none.

    ``NUMBER@trunk``, ``trunk/NUMBER``, ``trunk/sip:NUMBER@host:5060``; the technology may stand in front.
    """
    text = dialled
    if "/" in text:
        text = _TECHNOLOGY.sub("", text, count=1).rpartition("/")[2]
    begin = text.find("sip:") + 4
    if begin < 4:
        begin = text.find("sips:") + 5
        begin = 0 if begin < 5 else begin
    end = text.find("@", begin)
    end = len(text) if end < 0 else end
    mark = text.find(";" if begin else "!", begin, end)
    number = text[begin : end if mark < 0 else mark]
    return number if is_dialled(number) else ""


def variable_of(lines: str, name: str) -> str:
    """The value of `name` among ``NAME=value`` lines, as events carry channel variables."""
    begin = 0
    while begin <= len(lines):
        end = lines.find("\n", begin)
        end = len(lines) if end < 0 else end
        equals = lines.find("=", begin, end)
        if equals - begin == len(name) and lines.startswith(name, begin):
            return lines[equals + 1 : end]
        begin = end + 1
    return ""


class Trunks:
    """Which channels lead to or from the public network."""

    def __init__(self, switch: SwitchId, trunks: Iterable[Trunk]) -> None:
        self._patterns = [
            (_beginning(trunk.pattern), re.compile(translate(trunk.pattern)), trunk.id)
            for trunk in trunks
            if trunk.switch in (None, switch)
        ]

    def of(self, name: str) -> TrunkId | None:
        for beginning, pattern, trunk in self._patterns:
            if name.startswith(beginning) if beginning is not None else pattern.match(name):
                return trunk
        return None


def _beginning(pattern: str) -> str | None:
    """All that a pattern asks of a name, if that is how it begins."""
    beginning = pattern.removesuffix("*")
    return None if beginning == pattern or any(mark in beginning for mark in "*?[") else beginning


@dataclass(eq=False)
class Channel:
    """`account_code` is as it stands now, `own_account_code` as the channel was born with: `Dial` overwrites the
    former on the channels it calls. Times are switch times; `told_ns` is when we last read
    an event that tells of it, monotonic."""

    uniqueid: str
    name: str
    """Given to it by the table, as are the two that follow from it."""
    trunk: TrunkId | None
    is_local: bool
    linkedid: str = ""
    account_code: str = ""
    own_account_code: str = ""
    born_state: str = ""
    """Its state when it began, if that was seen; else its code may be that of whoever dialled it."""
    exten: str = ""
    """The extension it came in on."""
    caller: str = ""
    variable: str = ""
    """The payer variable's value, where the switch sends it."""
    variables: str | None = None
    """The variables of its last event, as they came."""
    told_ns: int = 0
    up_at_ms: int | None = None
    let_go_at_ms: int | None = None
    """The far end hung up; the channel itself may last until its application has cleaned up behind it."""
    hung_at_ms: int | None = None
    cause: int = 0
    dialled: bool = False
    dialler: Channel | None = None
    dial_status: str = ""
    bridge: str = ""
    """The bridge that it entered last."""
    moved_by: str = ""
    """The channel that sent it where it is, or whose forward it is, as its own variables name it."""
    sent_by: Payer | None = None
    """The line that sent it where it is now (blind transfer)."""
    forwarded_by: Payer | None = None
    """Of a Local channel: the line whose telephone forwarded a call to it."""
    handed_down: str = ""
    """Of such a one: the account code that it has from the caller."""
    forwarder: Payer | None = None
    """Of a dialling channel: the line that has just forwarded its call; the next dial is that forward."""
    leg: Leg | None = None
    """The leg that this channel is."""
    gate: Leg | None = None
    """The leg that it asked for last, in the gate."""
    gate_in: Leg | None = None
    """That of an inbound question; it stays when an outbound one follows."""
    asked: int | None = None
    """The hash of that question as it came, to tell a repeated event."""
    unheard: bool = False
    """A list showed its dialplan waiting in the gate, with a question that no event told of."""
    legs_named: int = 0

    @property
    def undialled(self) -> list[Leg]:
        """Legs that it asked for, and that nobody has dialled."""
        return [leg for leg in (self.gate, self.gate_in) if leg is not None and leg.billed is None]

    @property
    def asks(self) -> bool:
        """Its dialplan waits in the gate."""
        return self.unheard or (self.gate is not None and self.gate.asking)

    @property
    def may_have_come_in(self) -> bool:
        """Whether somebody outside may have begun the call with it. Of one whose beginning was not seen the name of
        its call tells, which is that of the channel that began it."""
        if self.born_state:
            return self.born_state != STATE_DOWN
        return self.uniqueid == self.linkedid

    @property
    def endpoint(self) -> str:
        return endpoint_of(self.name)

    def let_go_of_legs(self) -> None:
        """It is forgotten, and its legs name it as it names them: without this both would wait for the collector
        of cycles, whose looks at them hold up calls."""
        if self.leg is not None and self.leg.ended:
            self.leg = None
        if self.gate is not None and self.gate.ended:
            self.gate = None
        if self.gate_in is not None and self.gate_in.ended:
            self.gate_in = None


class ChannelTable:
    def __init__(self, trunks: Trunks) -> None:
        self.trunks = trunks
        self.live: dict[str, Channel] = {}
        self.gone: dict[str, Channel] = {}
        self._gone_in_order: deque[str] = deque()
        self._by_name: dict[str, Channel] = {}

    def find(self, uniqueid: str) -> Channel | None:
        """Live, or gone not long ago."""
        found = self.live.get(uniqueid)
        return found if found is not None else self.gone.get(uniqueid)

    def named(self, name: str) -> Channel | None:
        return self._by_name.get(name)

    def once_named(self, name: str) -> Channel | None:
        """Live, or gone not long ago."""
        found = self._by_name.get(name)
        if found is None:
            for uniqueid in reversed(self._gone_in_order):
                channel = self.gone[uniqueid]
                if channel.name == name:
                    return channel
        return found

    def add(self, uniqueid: str, name: str, told_ns: int) -> Channel:
        channel = Channel(uniqueid, name, self.trunks.of(name), name.startswith("Local/"))
        channel.told_ns = told_ns
        self.live[uniqueid] = channel
        self._by_name[name] = channel
        return channel

    def rename(self, channel: Channel, name: str) -> None:
        if name != channel.name:
            self._unname(channel)
            channel.name = name
            channel.is_local = name.startswith("Local/")
            channel.trunk = self.trunks.of(name)
            self._by_name[name] = channel

    def bury(self, channel: Channel) -> None:
        """It hung up."""
        self.live.pop(channel.uniqueid, None)
        self._unname(channel)
        if channel.uniqueid not in self.gone:
            self._gone_in_order.append(channel.uniqueid)
        self.gone[channel.uniqueid] = channel
        if len(self.gone) > GONE_KEPT:
            oldest = self.gone.pop(self._gone_in_order.popleft())
            oldest.let_go_of_legs()

    def set_trunks(self, trunks: Trunks) -> None:
        self.trunks = trunks
        for channel in self.live.values():
            channel.trunk = trunks.of(channel.name)

    def other_half(self, channel: Channel) -> Channel | None:
        """Of a Local channel."""
        if not channel.is_local:
            return None
        return self._by_name.get(channel.name[:-1] + ("2" if channel.name.endswith("1") else "1"))

    def upstream(self, channel: Channel) -> Channel | None:
        """The channel behind a Local one: whoever dialled its other half or, when a feature made it (attended
        transfer), whoever talks to that."""
        other = self.other_half(channel)
        if other is None or other.dialler is not None:
            return other.dialler if other is not None else None
        if not other.bridge:
            return None
        real = [mate for mate in self.live.values() if mate.bridge == other.bridge and not mate.is_local]
        return real[0] if len(real) == 1 else None

    def origin(self, channel: Channel) -> Channel:
        """The real channel at the head of a chain of Local ones; the last Local one when nobody dialled that."""
        for _ in range(16):
            above = self.upstream(channel)
            if above is None:
                break
            channel = above
        return channel

    def _unname(self, channel: Channel) -> None:
        if self._by_name.get(channel.name) is channel:
            del self._by_name[channel.name]
