"""Who answers for a dial. Pure; never the caller's identification."""

from __future__ import annotations

from rater.calls.signals import Direction, Payer
from rater.switch.channels import Channel, ChannelTable, endpoint_of
from rater.switch.legs import Leg

_OUT = Direction.OUT


def payer_of(channels: ChannelTable, dialler: Channel | None, called: Channel) -> Payer:
    """The dialling channel's account code, endpoint and variable, as they stand now.

    A Local channel has no endpoint: the real channel behind it lends its own. A channel that a line sent elsewhere
    (blind transfer) dials for that line; a trunk's channel that is an outbound leg dials for the leg's payer; the
    Local channel of a telephone's forward for the telephone that forwards, unless the dialplan named another
    account. Without a dialling channel (originated) only the new channel carries an account.
    """
    if dialler is None:
        return Payer(called.account_code, "", called.variable)
    half = channels.other_half(dialler)
    forwarder = dialler.forwarded_by or (half.forwarded_by if half is not None else None)
    if half is not None and forwarder is not None:
        return _forwarding(dialler, half, forwarder)
    origin = channels.origin(dialler)
    endpoint = endpoint_of(origin.name) if origin.trunk is None else ""
    sender = dialler.sent_by or origin.sent_by
    leg = origin.leg
    if sender is None and leg is not None and leg.direction is _OUT:
        sender = leg.payer
    if sender is None:
        return Payer(dialler.account_code, endpoint, dialler.variable)
    return Payer(
        dialler.account_code or sender.account_code,
        sender.endpoint or endpoint,
        dialler.variable or sender.variable,
    )


def _forwarding(dialler: Channel, half: Channel, forwarder: Payer) -> Payer:
    """The switch hands the caller's account code down to a forward; only another one was put there on purpose."""
    handed_down = half.dialler.account_code if half.dialler is not None else dialler.handed_down
    if dialler.account_code and dialler.account_code != handed_down:
        return Payer(dialler.account_code, forwarder.endpoint, forwarder.variable)
    return forwarder


def paying_side(channels: ChannelTable, leg: Leg) -> Channel | None:
    """Who is to hear that a leg's money ends: the line that talks on it. Of several in a conference the one that
    dialled, or whose endpoint is the payer's; behind Local channels the one at their head. None when only outside
    parties are left."""
    billed = leg.billed
    if billed is None or billed.hung_at_ms is not None:
        return None
    mates = [c for c in channels.live.values() if billed.bridge and c.bridge == billed.bridge and c is not billed]
    lines = [c for c in mates if c.trunk is None and not c.is_local]
    if len(lines) > 1:
        lines = [c for c in lines if c is leg.caller or c.endpoint == leg.payer.endpoint]
    if not lines:
        doors = [c for c in (leg.caller, *mates) if c is not None]
        heads = [channels.origin(door) for door in doors]
        lines = [c for c in heads if c.hung_at_ms is None and c.trunk is None and not c.is_local]
    return lines[0] if lines else None


def doubt_own_code(called: Channel) -> None:
    """Whoever dials a channel writes its account code over that of the channel, or the code of who sent it here.
    Of one whose beginning was not seen such a code is not believed to be its own."""
    dialler = called.dialler
    if called.born_state or dialler is None:
        return
    if dialler.moved_by or called.own_account_code == dialler.account_code:
        called.own_account_code = ""


def line_payer(channel: Channel) -> Payer:
    """A line as payer, by what its channel was born with."""
    return Payer(channel.own_account_code, endpoint_of(channel.name), channel.variable)
