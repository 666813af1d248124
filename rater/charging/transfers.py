"""Money from one account to another, in whatever shards they live.

Within a shard it is one script. Between two it is two postings, each idempotent by the transfer's operation id:
out of the one, which also notes the transfer as pending, and into the other. Whoever finds a pending transfer can
finish it: repeating a half that was done changes nothing. Money is never in two places; for a moment it is in
neither balance, and then it is in the list of pending transfers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from rater.charging.model import Post, PostKind, Reply, Status
from rater.charging.moves import MovingStore, stands_in
from rater.charging.records import PendingTransfer
from rater.charging.store import ChargingStore
from rater.charging.terms import Terms
from rater.ids import AccountId, OpId, Shard


class TransferStore(ChargingStore, MovingStore, Protocol):
    """A store whose accounts may move."""


async def transfer(store: TransferStore, post: Post) -> Reply:
    """`post`: of kind TRANSFER, `other` in `other_shard`. The reply is of the account that pays; conflicts and
    denials of either half are told, and then nothing has changed. Raises StoreError when the outcome is unknown:
    repeat it.

    Where the two live decides how it is done; one that is repeated after one of them has moved may be told as a
    conflict, and moves nothing more."""
    assert post.other is not None
    while True:
        shard = await stands_in(store, post.shard, post.account)
        other_shard = post.shard if post.other_shard is None else post.other_shard
        other_shard = await stands_in(store, other_shard, post.other)
        post = replace(post, shard=shard, other_shard=other_shard)
        if shard != other_shard:
            return await _across(store, post)
        reply = await store.ask(replace(post, other_shard=None))
        if reply.status is not Status.MOVED:
            return reply


async def _across(store: ChargingStore, post: Post) -> Reply:
    reply = await store.ask(replace(post, kind=PostKind.TRANSFER_OUT))
    if reply.status is not Status.OK:
        return reply
    assert post.other is not None
    assert post.other_shard is not None
    pending = PendingTransfer(
        post.op, post.shard, post.account, post.other, post.other_shard, post.amount_micro, post.cause
    )  # fmt: skip
    refusal = await finish(store, pending, post.now_ms, post.other_terms)
    return reply if refusal is None else refusal


async def finish(store: ChargingStore, pending: PendingTransfer, now_ms: int, other_terms: Terms) -> Reply | None:
    """Do the second half, or undo the first when it is refused: then why. `other_terms`: of the account that gets
    the money."""
    second = Post(
        pending.op, pending.other_shard, pending.other, PostKind.TRANSFER_IN, pending.amount_micro, now_ms,
        other_terms, pending.cause, other=pending.account,
    )  # fmt: skip
    reply = await store.ask(second)
    refusal = None
    if reply.status is not Status.OK:
        await store.ask(
            replace(
                second, op=OpId(f"{pending.op}:back"), shard=pending.shard, account=pending.account,
                kind=PostKind.TRANSFER_BACK, terms=Terms(), other=pending.other,
            )
        )  # fmt: skip
        refusal = reply
    await store.end_transfer(pending)
    return refusal


async def finish_pending(
    store: ChargingStore,
    shard: Shard,
    now_ms: int,
    terms_of: Callable[[AccountId], Terms] = lambda account: Terms(),
) -> int:
    """Finish what was left in the middle; how many. `terms_of`: for the thresholds of those who get money."""
    left = await store.transfers(shard)
    for pending in left:
        await finish(store, pending, now_ms, terms_of(pending.other))
    return len(left)
