"""Calls of legs as bytes, beside a plain encoding of the same: each list of keys and arguments written out."""

from __future__ import annotations

from typing import Any

import hiredis
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rater import packing, packing_reference
from rater.charging.keys import Keys
from rater.charging.model import Answer, Extend, FreeLeases, Post, PostKind, Reserve, Settle, TakeLeases
from rater.charging.terms import CallRate, Lease, Share, SlicePolicy, SpendCap, SpendWindow, Terms
from rater.charging.wire import to_call
from rater.charging.wire_legs import leg_call, needs_after, needs_of, reserve_needs
from rater.charging.wire_terms import PackedTerms
from rater.ids import AccountId, LegId, OpId, Shard, SwitchId
from rater.money import Quote, Segment
from rater.verdict import Reason

NOW_MS = 1_790_000_000_000
KEYS, TAG = Keys("rater", Shard(3)), "rater:{3}:"
QUOTE = Quote((Segment(0, 1, 10_000, 1),), "EUR", "fixed")
WORDS = ("FCALL", "rater_1_script")
IDS = st.text(min_size=1, max_size=40) | st.text("abc.:019é", min_size=28, max_size=34)
NUMBERS = st.integers(0, 1 << 40) | st.sampled_from([0, 31, 127, 128, 255, 256, 65_535, 65_536, 1 << 32])
REASONS = st.sampled_from(list(Reason))
LEASES = st.lists(st.builds(Lease, IDS, NUMBERS, REASONS, st.booleans()), max_size=6).map(tuple)
RATES = st.lists(st.builds(CallRate, IDS, NUMBERS, REASONS, st.booleans()), max_size=3).map(tuple)
SLICES = st.builds(SlicePolicy, NUMBERS, NUMBERS, NUMBERS)
SPEND = st.sampled_from([(), (SpendCap(SpendWindow.DAY, 5, NOW_MS),)])
PLAIN = st.builds(Terms, floor_micro=st.integers(-9, 9), spend=SPEND, shadow=st.booleans())
TERMS = PLAIN | st.builds(Terms, share=st.builds(Share, IDS, PLAIN), shadow=st.booleans())
HEAD = (IDS, NUMBERS, NUMBERS)
"""Account or scope, epoch, moment."""


def packed(*values: Any) -> bytes:
    return b"".join(msgpack.packb(value, use_bin_type=False) for value in values)


def written(names: list[str], *arguments: bytes) -> bytes:
    return bytes(hiredis.pack_command((*WORDS, len(names), *(TAG + name for name in names), *arguments)))


def asked(request: Any, needs: bytes) -> bytes:
    """By the product's own writer and its twin, and as `to_call` tells it."""
    command, twin = packing.Command(), packing_reference.Command()
    assert leg_call(command, request, KEYS, needs)
    script, names, arguments = to_call(request, KEYS, needs)
    for name in names:
        twin.key(name, "")
    for argument in arguments:
        twin.argument(argument)
    call = command.call(WORDS)
    assert twin.call(WORDS) == call
    assert script == type(request).__name__.lower() or script in ("lease", "release")
    return call


def signed(reason: Reason, *shadow: bool) -> int:
    return -int(reason) if any(shadow) else int(reason)


def second(terms: Terms, owner: str, account: str) -> list[str]:
    """Keys of whose money and spending is looked at besides."""
    if not owner and terms.share is None and not terms.spend:
        return []
    return [f"account:{owner or account}", f"spend:{account}", f"spend:{owner or account}"]


@given(*HEAD, TERMS, LEASES, SLICES, st.booleans(), st.binary(max_size=40), RATES, REASONS)
def test_reservation(
    account: str, epoch: int, now_ms: int, terms: Terms, leases: Any, slices: SlicePolicy, exempt: bool,
    facts: bytes, rates: Any, broken: Reason,
) -> None:  # fmt: skip
    request = Reserve(
        OpId("leg:1"), Shard(3), AccountId(account), LegId("leg"), SwitchId("pbx"), epoch, now_ms, QUOTE, terms,
        leases, slices, exempt, facts, rates, broken,
    )  # fmt: skip
    owner = terms.share.owner if terms.share is not None else ""
    needs = packed(owner, *(lease.scope for lease in leases))
    limits = packed(*(n for one in leases for n in (one.limit, signed(one.reason, one.shadow, terms.shadow))))
    arguments = [
        packed(
            1, str(epoch), now_ms, account, "leg", "pbx", int(exempt), slices.first_s,
            signed(broken, terms.shadow), limits, needs, "leg:1", slices.short_s,
        ),
        packed(QUOTE.to_wire()), facts, PackedTerms(terms).walk,
    ]  # fmt: skip
    if rates:
        arguments += [packed(*(n for r in rates for n in (r.calls, signed(r.reason, r.shadow, terms.shadow))))]
    assert reserve_needs(request) == needs == needs_of(owner or None, [lease.scope for lease in leases])
    assert asked(request, needs) == written(
        [
            "leg:leg", "epoch:pbx", "switches", f"account:{account}", "legs:pbx", "accounts", "ledger", "outbox",
            *(f"lease:{lease.scope}" for lease in leases), *(f"rate:{rate.scope}" for rate in rates),
            *second(terms, owner, account),
        ],
        *arguments,
    )  # fmt: skip


NEEDS = st.tuples(st.just("") | IDS, st.lists(IDS, max_size=6)) | st.none()
"""The owner and the scopes; None: the leg's needs are not known."""


def needs_and_keys(needs: Any) -> tuple[bytes, str, list[str]]:
    owner, scopes = needs or ("", [])
    return packed(owner, *scopes) if needs else b"", owner, [f"lease:{scope}" for scope in scopes]


@given(*HEAD, NEEDS, NUMBERS, st.binary(max_size=40))
def test_answer(account: str, epoch: int, now_ms: int, needed: Any, at_ms: int, facts: bytes) -> None:
    needs, _, leases = needs_and_keys(needed)
    request = Answer(
        OpId("leg:12"), Shard(3), AccountId(account), LegId("leg"), SwitchId("pbx"), epoch, now_ms, at_ms, facts
    )
    names = ["leg:leg", "epoch:pbx", "switches", f"account:{account}", *leases]
    assert asked(request, needs) == written(
        names, packed(12, str(epoch), now_ms, "leg", "pbx", at_ms, needs), facts
    )


@given(*HEAD, NEEDS, NUMBERS, TERMS, SLICES, NUMBERS)
def test_extension(
    account: str, epoch: int, now_ms: int, needed: Any, elapsed_s: int, terms: Terms, slices: SlicePolicy, seen: int
) -> None:
    needs, owner, leases = needs_and_keys(needed)
    request = Extend(
        OpId("leg:2"), Shard(3), AccountId(account), LegId("leg"), SwitchId("pbx"), epoch, now_ms, elapsed_s, terms,
        slices, seen,
    )  # fmt: skip
    names = ["leg:leg", "epoch:pbx", "switches", f"account:{account}", "ledger", *leases]
    also = second(terms, owner or (terms.share.owner if terms.share is not None else ""), account)
    if also:
        names += [also[0], "accounts", *also[1:]]
    head = packed(
        2, str(epoch), now_ms, len(leases), elapsed_s, slices.long_s, seen, needs, "leg", "pbx", "leg:2", account,
        slices.short_s,
    )  # fmt: skip
    assert asked(request, needs) == written(names, head, PackedTerms(terms).walk)
    after = needs_after(request, needs)
    joins = needs and not owner and terms.share is not None
    assert after == (packed(terms.share.owner, *(needed[1])) if joins and terms.share is not None else needs)


@given(*HEAD, NEEDS, st.none() | NUMBERS, TERMS, st.booleans(), st.binary(max_size=40))
def test_settlement(
    account: str,
    epoch: int,
    now_ms: int,
    needed: Any,
    duration_s: int | None,
    terms: Terms,
    emit: bool,
    facts: bytes,
) -> None:
    needs, owner, leases = needs_and_keys(needed)
    request = Settle(
        OpId("leg:3"), Shard(3), AccountId(account), LegId("leg"), SwitchId("pbx"), epoch, now_ms, duration_s,
        terms, emit, facts,
    )  # fmt: skip
    names = ["leg:leg", "epoch:pbx", "switches", f"account:{account}", "legs:pbx", "ledger", "outbox", *leases]
    head = packed(
        3, str(epoch), now_ms, len(leases), "leg:3", account, "leg", duration_s or 0, int(emit), needs, "pbx",
        f"{TAG}wake", terms.share.owner if terms.share is not None else "",
    )  # fmt: skip
    also = second(terms, owner, account)
    assert asked(request, needs) == written(names + also, head, facts, *PackedTerms(terms).settling)


@given(*HEAD, NUMBERS, LEASES, st.booleans())
def test_leases_of_a_reseller(leg: str, epoch: int, now_ms: int, until_ms: int, leases: Any, forced: bool) -> None:
    names = ["epoch:pbx", "switches", *(f"lease:{lease.scope}" for lease in leases)]
    taken = TakeLeases(OpId("r:1"), Shard(3), LegId(leg), SwitchId("pbx"), epoch, now_ms, until_ms, leases, forced)
    limits = [n for lease in leases for n in (lease.limit, signed(lease.reason, lease.shadow))]
    head = packed(str(epoch), now_ms, leg, "pbx", until_ms, int(forced), *limits)
    assert asked(taken, b"") == written(names, head)
    scopes = tuple(lease.scope for lease in leases)
    freed = FreeLeases(OpId("r:2"), Shard(3), LegId(leg), SwitchId("pbx"), epoch, scopes)
    assert asked(freed, b"") == written(names, packed(str(epoch), leg, "pbx"))


def test_what_is_of_no_leg_is_not_written() -> None:
    post = Post(OpId("p"), Shard(3), AccountId("a"), PostKind.CREDIT, 1, NOW_MS, Terms())
    assert leg_call(packing.Command(), post, KEYS, b"") == ""


@pytest.mark.parametrize("op", ["leg", "leg:", "leg:x", "leg:0", "leg:-1", ":"])
def test_an_operation_without_its_number_is_refused(op: str) -> None:
    request = Answer(OpId(op), Shard(3), AccountId("a"), LegId("leg"), SwitchId("pbx"), 1, NOW_MS, NOW_MS, b"\x80")
    with pytest.raises(ValueError, match=r"number|int"):
        leg_call(packing.Command(), request, KEYS, b"")
