"""The whole catalogue, validated and compiled: what the engine asks. How it travels through Redis is in `pieces`.

A snapshot is immutable and complete; publishing one replaces all of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from rater.catalog.lookups import Lookups
from rater.ids import AccountId, ResellerId, Shard


class Snapshot(Lookups):
    """Implements `rater.catalog.model.Catalog`. Raises CatalogError or InputError when a deck does not fit."""

    def placed(
        self, shards: Mapping[AccountId, Shard], version: int, resellers: Mapping[ResellerId, Shard] | None = None
    ) -> Snapshot:
        """The same catalogue as that version, with each account in its shard, and each reseller named in its."""
        accounts = {name: replace(account, shard=shards[name]) for name, account in self.accounts.items()}
        places = resellers or {}
        groups = {name: replace(each, shard=places.get(name, each.shard)) for name, each in self.resellers.items()}
        return Snapshot(replace(self.content, accounts=accounts, resellers=groups), self.decks, version)

    @cached_property
    def rows(self) -> int:
        """Rows of all decks."""
        return sum(len(deck) for deck in self.decks)
