"""Where accounts have been found to live since whoever asks was told: what a store remembers of moves. Pure."""

from __future__ import annotations

from dataclasses import replace

from rater.charging.model import (
    Answer,
    ExpireGrant,
    Extend,
    Post,
    PostGrant,
    PostKind,
    Request,
    Reserve,
    Settle,
)
from rater.charging.moves import Away
from rater.ids import AccountId, Shard

OfAccount = Reserve | Answer | Extend | Settle | Post | PostGrant | ExpireGrant
"""The requests that an account's shard decides. The others go where they say."""


class Places:
    """`any`: whether there is anything to remember. Most have nothing."""

    def __init__(self) -> None:
        self._known: dict[AccountId, tuple[int, Shard]] = {}
        self.any = False

    def learn(self, account: AccountId, away: Away) -> None:
        known = self._known.get(account)
        if known is None or known[0] < away.number:
            self._known[account] = (away.number, away.to)
            self.any = True

    def route(self, request: Request) -> Request:
        """The same request, to the shard where its account was last seen to be.

        When that is not the one that the request's author believes in, the author's idea of the account's group is
        as old: an owner in another shard cannot serve it. A transfer between two accounts of one shard stays as it
        is: where they live decides how it is done.
        """
        if not self._known or not isinstance(request, OfAccount):
            return request
        known = self._known.get(request.account)
        if known is None or known[1] == request.shard or is_within(request):
            return request
        return without_group(replace(request, shard=known[1]))


def is_within(request: Request) -> bool:
    """Whether it needs two accounts in one shard."""
    return isinstance(request, Post) and request.kind is PostKind.TRANSFER


def without_group(request: OfAccount) -> OfAccount:
    if isinstance(request, Reserve | Extend | Settle) and request.terms.share is not None:
        return replace(request, terms=replace(request.terms, share=None))
    return request
