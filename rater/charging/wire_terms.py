"""Terms as the scripts are sent them. Positions: see the scripts' headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rater.charging.grants import Kind, quota_id
from rater.charging.packed import sequence
from rater.charging.terms import AllowanceTerm, Resource, Share, SpendWindow, Terms, ThresholdKind
from rater.charging.walk import quota_terms
from rater.verdict import Reason

_SPEND_WINDOWS = {SpendWindow.HOUR: 1, SpendWindow.DAY: 3, SpendWindow.CYCLE: 6}
_COUNTED = 2
_THRESHOLDS = {kind: number for number, kind in enumerate(ThresholdKind)}


class PackedTerms:
    """What the scripts are sent of terms."""

    __slots__ = ("alone", "settling", "terms", "walk")

    def __init__(self, terms: Terms) -> None:
        share = terms.share
        once = any(threshold.once_from_ms for threshold in terms.thresholds)
        self.alone = share is None and not terms.spend and not once
        """Whether nothing but account and leg is looked at: neither a group's owner nor what was spent."""
        self.terms = terms
        self.walk = _walk(terms)
        others: tuple[bytes, ...] = (
            pack_thresholds(terms, spending=True),
            pack_thresholds(share.terms, spending=True) if share is not None else b"",
            _spend(terms, counted=True),
            _spend(share.terms, counted=True) if share is not None else b"",
        )
        while others and not others[-1]:
            others = others[:-1]
        self.settling = others
        """What a settlement is sent, without what is empty at the end: thresholds, those of the group's owner, what
        is counted as spent, the same of that owner."""


def _walk(terms: Terms) -> bytes:
    """What a leg may draw on."""
    share = terms.share
    return sequence((
        terms.floor_micro, int(terms.use_money), int(terms.seconds_order), int(terms.money_order),
        int(terms.shadow), share.owner if share is not None else "", _allowances(terms.allowances), _share(share),
        _spend(terms), int(Reason.INSUFFICIENT_CREDIT), int(Reason.ALLOWANCE_EXHAUSTED), int(Reason.SPEND_LIMIT),
        _bands(terms),
    ))  # fmt: skip


def _allowances(terms: tuple[AllowanceTerm, ...], kind: Kind = Kind.ALLOWANCE) -> bytes:
    values: list[Any] = []
    for term in terms:
        cadence, rollover = term.cadence, b""
        if term.rollover is not None:
            past: list[int] = []
            for cycle in term.rollover.past:
                past += (cycle.valid_from_ms, cycle.seconds, cycle.ended_at_ms, cycle.rolled_until_ms)
            rollover = sequence((term.rollover.max_s, term.rollover.min_s, *past))
        values += (
            term.grant, term.seconds, cadence.free_s, cadence.first_s, cadence.next_s, term.valid_from_ms,
            term.valid_until_ms, int(term.tier), term.priority, term.next_until_ms, rollover, int(kind),
            pack_set(term.hours),
        )  # fmt: skip
    return sequence(values) if values else b""


def _share(share: Share | None) -> bytes:
    if share is None:
        return b""
    terms = share.terms
    quotas = quota_terms(share.owner, share.quota_s, share.quota_micro)
    return sequence((
        share.owner, terms.floor_micro, int(terms.use_money), int(share.first), share.valid_until_ms,
        int(terms.seconds_order), int(terms.money_order),
        quota_id(share.owner, Resource.SECONDS) if share.quota_s is not None else "",
        quota_id(share.owner, Resource.MONEY) if share.quota_micro is not None else "",
        _allowances(terms.allowances), _allowances(quotas, Kind.QUOTA), _spend(terms), _bands(terms),
    ))  # fmt: skip


def _spend(terms: Terms, *, counted: bool = False) -> bytes:
    """The caps; with `counted` also the windows in which is only counted what is charged."""
    values: list[int] = []
    for cap in terms.spend:
        if cap.limit_micro is not None:
            values += (_SPEND_WINDOWS[cap.window], cap.limit_micro, cap.from_ms, int(cap.shadow))
        elif counted:
            values += (_SPEND_WINDOWS[cap.window], 0, cap.from_ms, _COUNTED)
    return sequence(values) if values else b""


def pack_thresholds(terms: Terms, *, spending: bool = False) -> bytes:
    """`spending`: those on what was charged too, which only a settlement changes."""
    values: list[Any] = []
    for each in terms.thresholds:
        if spending or each.kind.window is None:
            values += (each.id, _THRESHOLDS[each.kind], each.value, each.grant or "", each.once_from_ms)
    return sequence(values) if values else b""


def _bands(terms: Terms) -> bytes:
    return (
        sequence([value for at_ms, name in terms.bands for value in (at_ms, f",{name},")]) if terms.bands else b""
    )


def pack_set(names: Sequence[str]) -> str:
    """Names that a script looks one up among."""
    return f",{','.join(names)}," if names else ""
