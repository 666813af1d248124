"""Calls that are handed on, in the events of an Asterisk 22: blind and attended transfers, AMI Redirect. Tests
compare them with captures of a real one.

A blind transfer and a redirect take one party out of a call and send it into the dialplan, where it begins a new
call as its first channel; the other party is hung up. Neither Uniqueid nor name changes.

An attended transfer joins the far parties of two calls of one line in the bridge of the first, and hangs up the
line's two channels.
"""

from __future__ import annotations

from rater.switch.simulator.call import Call
from rater.switch.simulator.channel import Channel
from rater.switch.simulator.world import World, bridge_lines

BLIND_TRANSFER = "BLINDTRANSFER"
"""The variable in which the switch leaves, on the channel that was sent, who sent it."""


def send_off(world: World, call: Call, sent: Channel, mover: Channel, *, context: str, number: str) -> None:
    """A blind transfer: `mover` sends `sent` to a number, and is out. The call is over."""
    world.emit("BlindTransfer", _blind_lines(world, mover, sent, context, number))
    world.unbridge(mover)
    sent.variables[BLIND_TRANSFER] = mover.name
    sent.peer_account = mover.account_code
    _to_dialplan(sent, context, number)
    world.unbridge(sent)
    call.leave(mover, by_dialplan=mover is call.caller)


def redirect(world: World, call: Call, sent: Channel, left: Channel, *, context: str, number: str) -> None:
    """A manager sends `sent` to a number; whoever was with it is hung up."""
    _to_dialplan(sent, context, number)
    world.unbridge(sent)
    world.unbridge(left)
    call.leave(left)


def join(world: World, first: Call, second: Call) -> tuple[Channel, Channel]:
    """An attended transfer by the line that is the caller in both calls. Returns the two far parties, which talk
    from now on; both calls are over."""
    mover, other = _party(first.caller), _party(second.caller)
    transferee, target = _party(first.callee), _party(second.callee)
    bridge, consulted = transferee.bridge, target.bridge
    world.unbridge(other)
    world.emit("BridgeMerge", bridge_lines(bridge, 2, "To") + bridge_lines(consulted, 1, "From"))
    world.unbridge(mover)
    world.unbridge(target)
    world.enter(bridge, target)
    transferee.connected_number, target.connected_number = target.caller_number, transferee.caller_number
    for channel in (transferee, target):
        world.emit("NewConnectedLine", channel.lines())
    world.emit("AttendedTransfer", _attended_lines(mover, other, transferee, target, bridge, consulted))
    second.leave(other)
    first.leave(mover)
    return transferee, target


def _party(channel: Channel | None) -> Channel:
    assert channel is not None, "both calls are being talked on"
    return channel


def _to_dialplan(channel: Channel, context: str, number: str) -> None:
    channel.context, channel.exten, channel.priority = context, number, 1


def _blind_lines(world: World, mover: Channel, sent: Channel, context: str, number: str) -> str:
    bridge = bridge_lines(mover.bridge, world.members(mover.bridge))
    return (
        f"Result: Success\r\n{mover.lines('Transferer')}{sent.lines('Transferee')}{bridge}"
        f"IsExternal: Yes\r\nContext: {context}\r\nExtension: {number}\r\n"
    )


def _attended_lines(
    mover: Channel, other: Channel, transferee: Channel, target: Channel, bridge: str, consulted: str
) -> str:
    return (
        f"Result: Success\r\n{mover.lines('OrigTransferer')}{bridge_lines(bridge, 2, 'Orig')}"
        f"{other.lines('SecondTransferer')}{bridge_lines(consulted, 0, 'Second')}"
        f"{transferee.lines('Transferee')}{target.lines('TransferTarget')}"
        f"IsExternal: No\r\nDestType: Bridge\r\nDestBridgeUniqueid: {bridge}\r\n"
    )
