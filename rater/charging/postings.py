"""What is done to an account by hand: money moved, grants made and ended. The reference for lua/post.lua and
lua/grant.lua. Each function changes the account when it may, and says what the ledger has to say.
"""

from __future__ import annotations

from rater.charging.books import Account, Line
from rater.charging.grants import MAX_GRANTS, close, drop_spent, give
from rater.charging.model import ExpireGrant, Post, PostGrant, PostKind, Reply, Status
from rater.money import MAX_AMOUNT_MICRO
from rater.verdict import Reason

Done = tuple[Reply, list[Line]]


def move(account: Account, post: Post, *, other: Account | None = None, refunded_micro: int = 0) -> Done:
    """Money in or out of the balance. `other`: where a transfer within the shard goes. `refunded_micro`: of the
    event before."""
    before_micro, after_micro = account.balance_micro, account.balance_micro + post.change_micro
    if post.change_micro < 0 and after_micro - account.reserved_micro < post.terms.floor_micro:
        return Reply(Status.DENIED, Reason.INSUFFICIENT_CREDIT), []
    if _out_of_range(account, post.change_micro):
        return Reply(Status.DENIED, Reason.OUT_OF_RANGE), []
    if other is not None and _out_of_range(other, post.amount_micro):
        return Reply(Status.DENIED, Reason.OUT_OF_RANGE), []
    if post.kind is PostKind.REFUND and refunded_micro + post.amount_micro > post.charged_micro:
        return Reply(Status.DENIED, Reason.REFUND_TOO_LARGE), []
    if post.kind is PostKind.OPENING:
        account.balance_micro = after_micro
        account.opening_micro, account.opened = post.amount_micro, True
    else:
        _change(account, post.change_micro)
    line = Line(post.kind.cause, "", 0, before_micro, after_micro)
    return Reply(Status.OK, amount_micro=post.amount_micro), [line] if post.amount_micro else []


def arrive(other: Account, post: Post) -> list[Line]:
    """The other half of a transfer that `move` carried out."""
    before_micro = other.balance_micro
    _change(other, post.amount_micro)
    return [Line(post.kind.cause, "", 0, before_micro, other.balance_micro)]


def _out_of_range(account: Account, change_micro: int) -> bool:
    moved_micro = account.debits_micro if change_micro < 0 else account.credits_micro
    too_much = moved_micro + abs(change_micro) > MAX_AMOUNT_MICRO
    return too_much or abs(account.balance_micro + change_micro) > MAX_AMOUNT_MICRO


def _change(account: Account, change_micro: int) -> None:
    account.balance_micro += change_micro
    if change_micro < 0:
        account.debits_micro -= change_micro
    else:
        account.credits_micro += change_micro


def give_grant(account: Account, request: PostGrant) -> Done:
    """A grant's id is used once while the grant is on record."""
    spec = request.grant
    drop_spent(account, request.now_ms)
    if any(grant.id == spec.id for grant in account.grants):
        return Reply(Status.CONFLICT), []
    if len(account.grants) >= MAX_GRANTS:
        return Reply(Status.DENIED, Reason.OUT_OF_RANGE), []
    return Reply(Status.OK, amount_micro=spec.amount), give(account, spec)


def expire_grant(account: Account, request: ExpireGrant) -> Done:
    """What live legs hold of it stays theirs."""
    for grant in account.grants:
        if grant.id == request.grant and not grant.closed and grant.valid_until_ms > request.now_ms:
            left = grant.remaining
            lines = close(grant)
            drop_spent(account, request.now_ms)
            return Reply(Status.OK, amount_micro=left), lines
    return Reply(Status.GONE), []
