"""A session's charging commands as requests to the store. Pure."""

from __future__ import annotations

from typing import Any

from rater.calls.commands import ChargeCommand, ExtendSlice, PersistAnswer, ReserveSlice
from rater.charging.model import Answer, Extend, Reserve, Settle
from rater.charging.terms import SlicePolicy
from rater.live import LiveLeg

_RENEWED = SlicePolicy(1, 1, 1)
"""To keep the leases alive: all that a slice can be without being one."""


def request_of(
    record: LiveLeg, command: ChargeCommand, policy: SlicePolicy, wall_ms: int
) -> Reserve | Answer | Extend | Settle:
    """The leg's next operation, under its terms as they stand."""
    session = record.session
    op: Any = f"{session.leg}:{record.next_op}"
    record.next_op += 1
    facts = session.facts
    shard, account, leg, switch = record.shard, record.account, session.leg, record.switch
    if isinstance(command, ReserveSlice):
        leases, rates = record.leases, record.rates
        record.leases = record.rates = ()  # asked for once; from now on the store knows them
        return Reserve(
            op, shard, account, leg, switch.id, switch.epoch, wall_ms, record.quote, record.terms, leases,
            _slices(record, policy), record.exempt, facts.pack(), rates, record.broken,
        )  # fmt: skip
    if isinstance(command, PersistAnswer):
        answer = command
        return Answer(
            op, shard, account, leg, switch.id, switch.epoch, wall_ms, answer.answered_at_ms, facts.pack()
        )
    if isinstance(command, ExtendSlice):
        extend = command
        slices = _RENEWED if extend.renew_only else _slices(record, policy)
        return Extend(
            op, shard, account, leg, switch.id, switch.epoch, wall_ms, extend.elapsed_s, record.terms, slices,
            session.seen_at_ms,
        )  # fmt: skip
    settle = command
    return Settle(
        op, shard, account, leg, switch.id, switch.epoch, wall_ms, settle.duration_s, record.terms, settle.emit,
        facts.pack(),
    )  # fmt: skip


def _slices(record: LiveLeg, policy: SlicePolicy) -> SlicePolicy:
    """A leg that costs nothing gets its whole length at once: no timer of ours may end it. To warn early it must be
    known early whether more can be had: so much more is reserved ahead."""
    if record.free or record.exempt:
        horizon_s = record.quote.horizon_s
        return SlicePolicy(horizon_s, horizon_s, horizon_s)
    early_s = max(record.switch.warn_s) if record.switch.warn_s else 0
    if not early_s:
        return policy
    return SlicePolicy(policy.first_s + early_s, policy.long_s + early_s, policy.short_s)
