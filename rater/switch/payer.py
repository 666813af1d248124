"""Who answers for a dial. Pure; never the caller's identification."""

from __future__ import annotations

from rater.calls.signals import Direction, Payer
from rater.switch.channels import Channel, ChannelTable


def payer_of(channels: ChannelTable, dialler: Channel | None, called: Channel) -> Payer:
    """The dialling channel's account code, endpoint and variable, as they stand now.

    A Local channel has no endpoint: the real channel behind it lends its own. A channel that a line sent elsewhere
    (blind transfer) dials for that line; a trunk's channel that is an outbound leg dials for the leg's payer.
    Without a dialling channel (originated) only the new channel carries an account.
    """
    if dialler is None:
        return Payer(called.account_code, "", called.variable)
    origin = channels.origin(dialler)
    endpoint = origin.endpoint if origin.trunk is None else ""
    sender = dialler.responsible or origin.responsible
    if sender is None and origin.leg is not None and origin.leg.direction is Direction.OUT:
        sender = origin.leg.payer
    if sender is None:
        return Payer(dialler.account_code, endpoint, dialler.variable)
    return Payer(
        dialler.account_code or sender.account_code,
        sender.endpoint or endpoint,
        dialler.variable or sender.variable,
    )
