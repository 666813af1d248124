"""Distinct types for identifiers, so that two of them cannot be swapped unseen. When the program runs they are what
they are made of: a `NewType` would cost a call of Python each time that one is given to a text."""

from typing import TYPE_CHECKING, NewType

if not TYPE_CHECKING:

    def NewType(name, base):
        return base


SwitchId = NewType("SwitchId", str)
LineId = NewType("LineId", str)
TrunkId = NewType("TrunkId", str)
AccountId = NewType("AccountId", str)
PlanId = NewType("PlanId", str)
ResellerId = NewType("ResellerId", str)
GrantId = NewType("GrantId", str)
GroupId = NewType("GroupId", str)
CallId = NewType("CallId", str)
"""``<switch>.<boot>.<linkedid>``: the legs and lines that share a conversation."""
LegId = NewType("LegId", str)
"""``<switch>.<boot>.<uniqueid>[.<n>]``: one channel between the switch and a trunk, dial to hang-up.

The boot part (the switch's start time in base 36) keeps two lives of one switch apart, since a uniqueid is a
clock second and a counter that starts again with the switch.
"""
OpId = NewType("OpId", str)
"""Names one charging operation; repeating it returns the first answer."""
Shard = NewType("Shard", int)
