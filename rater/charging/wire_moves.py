"""What scripts answer and store of accounts that move. Positions: see lua/prelude.lua."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgpack

from rater.charging.moves import Away, AwayState, Homes
from rater.charging.packed import parse_sequence, sequence
from rater.ids import Shard

AWAY, OTHER_HOMES = 6, 7
"""First bytes of a reply."""
_MARK = b"M"


@dataclass(frozen=True, slots=True)
class Parcel:
    """What is under way: the account as stored (empty when there was none), its homes from now on, the ledger's
    lines that carry its balances, and everything else with its name in any shard and its kind: ``value``, ``timed``
    (what, for how many ms), ``member`` (which), ``score`` (whose, how much)."""

    account: bytes
    homes: bytes
    lines: list[Any]
    items: list[list[Any]]

    def pack(self) -> bytes:
        packed: bytes = msgpack.packb([self.account, self.homes, self.lines, self.items], use_bin_type=False)
        return packed

    @classmethod
    def unpack(cls, data: bytes) -> Parcel:
        return cls(*msgpack.unpackb(data, raw=True))


class NotHere(Exception):
    """An account does not live in the shard; nothing was done. `other`: not the request's own, but its group's
    owner or the one that a transfer goes to."""

    def __init__(self, away: Away, *, other: bool) -> None:
        super().__init__("an account moves to another shard, or has moved")
        self.away = away
        self.other = other


class OtherHomes(Exception):
    """The operation may have been done in a shard that the account lived in before; nothing was done here."""

    def __init__(self, homes: Homes) -> None:
        super().__init__("the account has lived in other shards")
        self.homes = homes


def refusal_of(data: bytes) -> NotHere | OtherHomes:
    """What a script answered instead of carrying the request out."""
    if data[0] == OTHER_HOMES:
        return OtherHomes(to_homes(data[1:]))
    away = to_away(data[2:])
    assert data[0] == AWAY
    assert away is not None
    return NotHere(away, other=data[1] == 1)


def to_away(data: bytes) -> Away | None:
    """What stands in an account's place; None when it is the account."""
    if data[:1] != _MARK:
        return None
    _, state, number, to, *held = parse_sequence(data)
    return Away(AwayState(state), number, Shard(to), held[0] if held else b"")


def at_home(data: bytes | None) -> bytes | None:
    """The account as stored, when it is in the shard, if only for a moment more."""
    away = to_away(data) if data else None
    return data if away is None else away.held or None


def to_homes(data: bytes) -> Homes:
    number, *before = parse_sequence(data)
    return Homes(number, tuple((Shard(shard), ms) for shard, ms in zip(before[::2], before[1::2], strict=True)))


def of_homes(homes: Homes) -> bytes:
    return sequence([homes.number, *(value for home in homes.before for value in home)])
