"""A session's charging commands as requests to the store. Pure."""

from __future__ import annotations

from dataclasses import replace

from rater.calls.commands import ChargeCommand, ExtendSlice, PersistAnswer, ReserveSlice, SettleLeg
from rater.charging.model import Answer, Extend, Reserve, Settle
from rater.charging.terms import SlicePolicy
from rater.ids import OpId
from rater.live import LiveLeg


def request_of(
    record: LiveLeg, command: ChargeCommand, policy: SlicePolicy, wall_ms: int
) -> Reserve | Answer | Extend | Settle:
    """The leg's next operation, under its terms as they stand."""
    session = record.session
    op = OpId(f"{session.leg}:{record.next_op}")
    record.next_op += 1
    facts = session.facts
    head = (op, record.shard, record.account, session.leg, record.switch.id, record.switch.epoch, wall_ms)
    slices = _slices(record, policy)
    match command:
        case ReserveSlice():
            leases, rates = record.leases, record.rates
            record.leases = record.rates = ()  # asked for once; from now on the store knows them
            return Reserve(*head, record.quote, record.terms, leases, slices, record.exempt, facts.pack(), rates,
                           record.broken)  # fmt: skip
        case PersistAnswer():
            return Answer(*head, command.answered_at_ms, facts.pack())
        case ExtendSlice():
            own = SlicePolicy(1, 1, 1) if command.renew_only else slices
            return Extend(*head, command.elapsed_s, record.terms, own, session.seen_at_ms)
        case SettleLeg():
            return Settle(*head, command.duration_s, record.terms, command.emit, facts.pack())


def _slices(record: LiveLeg, policy: SlicePolicy) -> SlicePolicy:
    """A leg that costs nothing gets its whole length at once: no timer of ours may end it. To warn early it must be
    known early whether more can be had: so much more is reserved ahead."""
    if record.free or record.exempt:
        horizon_s = record.quote.horizon_s
        return SlicePolicy(horizon_s, horizon_s, horizon_s)
    early_s = max(record.switch.warn_s, default=0)
    return replace(policy, first_s=policy.first_s + early_s, long_s=policy.long_s + early_s) if early_s else policy
