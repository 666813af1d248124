"""The names of everything kept in Redis. Layout: docs/redis.md."""

from __future__ import annotations

from rater.events.stream import outbox_key
from rater.ids import AccountId, LegId, Shard, SwitchId


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
        self.lease_prefix = f"{tag}lease:"
        self.rate_prefix = f"{tag}rate:"
        self.spend_prefix = f"{tag}spend:"
        self.account_prefix = f"{tag}account:"
        self.leg_prefix = f"{tag}leg:"
        self.legs_prefix = f"{tag}legs:"
        self.epoch_prefix = f"{tag}epoch:"
        self._refund = f"{tag}refund:"
        self._operation = f"{tag}op:"
        self._homes = f"{tag}homes:"
        self._moving = f"{tag}moving:"

    def account(self, account: AccountId) -> str:
        return self.account_prefix + account

    def leg(self, leg: LegId) -> str:
        return self.leg_prefix + leg

    def legs(self, switch: SwitchId) -> str:
        return self.legs_prefix + switch

    def epoch(self, switch: SwitchId) -> str:
        return self.epoch_prefix + switch

    def operation(self, op: str) -> str:
        return self._operation + op

    def spend(self, account: AccountId) -> str:
        return self.spend_prefix + account

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
