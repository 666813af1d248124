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


def move(account: Account, post: Post) -> Done:
    """Money in or out of the balance."""
    amount_micro, before_micro = post.amount_micro, account.balance_micro
    debit = post.kind is PostKind.DEBIT
    after_micro = before_micro + (-amount_micro if debit else amount_micro)
    if debit and after_micro - account.reserved_micro < post.terms.floor_micro:
        return Reply(Status.DENIED, Reason.INSUFFICIENT_CREDIT), []
    moved_micro = account.debits_micro if debit else account.credits_micro
    if moved_micro + amount_micro > MAX_AMOUNT_MICRO or abs(after_micro) > MAX_AMOUNT_MICRO:
        return Reply(Status.DENIED, Reason.OUT_OF_RANGE), []
    account.balance_micro = after_micro
    match post.kind:
        case PostKind.OPENING:
            account.opening_micro, account.opened = amount_micro, True
        case PostKind.CREDIT:
            account.credits_micro += amount_micro
        case PostKind.DEBIT:
            account.debits_micro += amount_micro
    line = Line(post.kind.value, "", 0, before_micro, after_micro)
    return Reply(Status.OK, amount_micro=amount_micro), [line] if amount_micro else []


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
