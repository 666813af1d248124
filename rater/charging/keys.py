"""The names of everything kept in Redis. Layout: docs/redis.md."""

from __future__ import annotations

from rater.events.stream import outbox_key
from rater.ids import AccountId, LegId, Shard, SwitchId
from rater.kept import Kept


class Keys:
    """The names within one shard. All carry its hash tag, so that they live on one node of a cluster."""

    def __init__(self, prefix: str, shard: Shard) -> None:
        self.prefix = prefix
        self.shard = shard
        self.tag = tag = f"{prefix}:{{{shard}}}:"
        self.outbox = outbox_key(prefix, shard)
        self.ledger = f"{tag}ledger"
        self.ledger_checkpoint = f"{tag}ledger:checkpoint"
        self.ledger_sums = f"{tag}ledger:sums"
        self.accounts = f"{tag}accounts"
        self.switches = f"{tag}switches"
        self.wake = f"{tag}wake"
        self.transfers = f"{tag}transfers"
        self.moves = f"{tag}moves"
        self.arrivals = f"{tag}arrivals"
        self.of_needs = Kept(4096)
        """Leases by what a leg needs; see `rater.charging.wire_legs`."""
        self._refund = f"{tag}refund:"
        self.lease_prefix = f"{tag}lease:"
        self._rate = f"{tag}rate:"
        self._spend = f"{tag}spend:"
        self._account = f"{tag}account:"
        self._leg = f"{tag}leg:"
        self._legs = f"{tag}legs:"
        self._epoch = f"{tag}epoch:"
        self._operation = f"{tag}op:"
        self._homes = f"{tag}homes:"
        self._moving = f"{tag}moving:"

    def account(self, account: AccountId) -> str:
        return self._account + account

    def leg(self, leg: LegId) -> str:
        return self._leg + leg

    def legs(self, switch: SwitchId) -> str:
        return self._legs + switch

    def epoch(self, switch: SwitchId) -> str:
        return self._epoch + switch

    def operation(self, op: str) -> str:
        return self._operation + op

    def spend(self, account: AccountId) -> str:
        return self._spend + account

    def rate(self, scope: str) -> str:
        return self._rate + scope

    def homes(self, account: AccountId) -> str:
        return self._homes + account

    def moving(self, account: AccountId) -> str:
        return self._moving + account

    def refund(self, event: LegId) -> str:
        return self._refund + event

    def lease(self, scope: str) -> str:
        return self.lease_prefix + scope


def places_key(prefix: str) -> str:
    """Each account's and each reseller's shard, for those who publish catalogues."""
    return f"{prefix}:shards"


def leadership_key(prefix: str, switch: SwitchId) -> str:
    return f"{prefix}:lead:{switch}"
