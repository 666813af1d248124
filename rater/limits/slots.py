"""Simultaneous legs of a switch's trunks, counted by the one daemon that leads the switch. Pure.

Nobody else adds legs to that switch, so that a count in memory is exact, whatever the accounts' shards; after a
restart the legs taken up from the store are counted before anything new is decided. A leg holds its slot from the
attempt (a gated one from its dial, which is when its trunk becomes known) until it is over.
"""

from __future__ import annotations

from rater.ids import LegId, TrunkId


class TrunkSlots:
    """Of one switch."""

    def __init__(self) -> None:
        self._legs: dict[TrunkId, set[LegId]] = {}
        self._trunk_of: dict[LegId, TrunkId] = {}

    def take(self, trunk: TrunkId, leg: LegId, most: int | None, forced: bool) -> bool:
        """Whether the leg is within the trunk's limit. One that is not has no slot, unless it is `forced` (an
        emergency, shadow). A leg that has a slot of the trunk keeps it; one of another trunk is given up for it."""
        if self._trunk_of.get(leg) == trunk:
            return True
        within = most is None or self.live(trunk) < most
        if within or forced:
            self.free(leg)
            self._trunk_of[leg] = trunk
            self._legs.setdefault(trunk, set()).add(leg)
        return within

    def free(self, leg: LegId) -> None:
        trunk = self._trunk_of.pop(leg, None)
        if trunk is not None:
            legs = self._legs[trunk]
            legs.discard(leg)
            if not legs:
                del self._legs[trunk]

    def live(self, trunk: TrunkId) -> int:
        return len(self._legs.get(trunk, ()))
