"""The catalogue as the engine asks it: prices, refusals, terms; and its wire form."""

import datetime as dt
import hashlib
import io
from collections import Counter
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from rater.catalog.content import Content
from rater.catalog.files import read_catalog
from rater.catalog.model import CallLimits, Modality, PayerSource, Rated, Refused
from rater.catalog.pieces import PIECE_BYTES, ROWS, from_pieces, from_text, to_pieces
from rater.catalog.snapshot import Snapshot
from rater.charging.terms import Terms, ThresholdKind
from rater.errors import CatalogError
from rater.ids import AccountId, LineId, PlanId, Shard, SwitchId, TrunkId
from rater.money import MAX_CALL_S, cumulative_micro
from rater.rating.reading import Normalised
from rater.verdict import Reason

from .support import CONFIG, FILES, PLANS, catalog, write

BASIC, SP = PlanId("basic"), PlanId("sp")
NOON_MS = int(dt.datetime(2026, 11, 24, 12, tzinfo=ZoneInfo("Europe/Paris")).timestamp() * 1000)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return catalog(tmp_path_factory.mktemp("catalog"))


def rated(snapshot: Snapshot, plan: PlanId, number: str, area: str = "") -> Rated:
    answer = snapshot.rate(plan, number, area=area, at_ms=NOON_MS)
    assert isinstance(answer, Rated), answer
    return answer


def refused(snapshot: Snapshot, plan: PlanId, number: str, area: str = "") -> Refused:
    answer = snapshot.rate(plan, number, area=area, at_ms=NOON_MS)
    assert isinstance(answer, Refused), answer
    return answer


def test_files_become_accounts_lines_trunks_and_switches(small: Snapshot) -> None:
    ann, bob = small.accounts[AccountId("ann")], small.accounts[AccountId("bob")]
    assert (ann.opening_micro, ann.limits, ann.modality) == (12_500_000, CallLimits(2, 1, None), Modality.PREPAID)
    assert (bob.credit_limit_micro, bob.modality) == (20_000_000, Modality.POSTPAID)
    line = small.lines[LineId("1001")]
    assert (line.account, line.account_code, line.limits.both) == ("ann", "A1", 2)
    assert small.line_by_endpoint("1001") is line
    assert small.line_by_account_code("A1") is line
    assert small.line_by_endpoint("nobody") is None
    assert small.line_by_account_code("") is None
    assert not small.lines[LineId("1003")].active
    assert small.lines[LineId("1004")].area == "21"
    trunk = small.trunks[TrunkId("carrier")]
    assert (trunk.switch, trunk.pattern, trunk.max_calls) == ("pbx1", "PJSIP/trunk-*", 30)
    rules = small.switches[SwitchId("pbx1")]
    assert rules.payer == (PayerSource.ENDPOINT, PayerSource.ACCOUNT_CODE)
    assert rules.payer_variable == "WHO"


def test_longest_prefix_prices_the_number(small: Snapshot) -> None:
    answer = rated(small, BASIC, "+33612345678")
    assert (answer.prefix, answer.destination, answer.destination_class) == ("336", "France mobile", "mobile")
    assert (answer.number, answer.plan, answer.version, answer.emergency) == ("33612345678", "basic", 0, False)
    assert answer.quote.currency == "EUR"
    assert cumulative_micro(answer.quote, 60) == 100_000


def test_no_rate_is_a_reason(small: Snapshot) -> None:
    answer = refused(small, BASIC, "+81312345678")
    assert answer.reason is Reason.NO_RATE
    assert "81312345678" in answer.detail


@pytest.mark.parametrize(
    ("number", "reason"),
    [("abc", Reason.MALFORMED_NUMBER), ("+999123", Reason.UNKNOWN_NUMBER), ("", Reason.MALFORMED_NUMBER)],
)
def test_unreadable_numbers_are_refused(small: Snapshot, number: str, reason: Reason) -> None:
    assert refused(small, BASIC, number).reason is reason


def test_emergency_is_free_and_as_long_as_can_be(small: Snapshot) -> None:
    answer = rated(small, SP, "190")
    assert (answer.emergency, answer.destination_class, answer.prefix) == (True, "emergency", "")
    assert answer.quote.horizon_s == MAX_CALL_S
    assert cumulative_micro(answer.quote, MAX_CALL_S) == 0


def test_class_row_prices_what_no_prefix_does(small: Snapshot) -> None:
    answer = rated(small, SP, "11998765432", area="11")
    assert (answer.prefix, answer.destination_class) == ("#2", "mobile_local")
    assert any(step.startswith("rate.class:") for step in answer.steps)


def test_prefix_of_the_right_class_comes_before_the_class_row(tmp_path: Path) -> None:
    deck = FILES["decks/class.csv"] + "5511;São Paulo, special;fixed_local;0.01\n"
    snapshot = read_catalog(write(tmp_path, FILES | {"decks/class.csv": deck}))
    assert rated(snapshot, SP, "1133334444", area="11").prefix == "5511"
    assert rated(snapshot, SP, "11998765432", area="11").prefix == "#2"
    ld = rated(snapshot, SP, "1133334444", area="21")
    assert (ld.prefix, ld.destination_class) == ("55", "fixed_ld")
    assert any("5511 is a rate for fixed_local, not for fixed_ld: passed over" in step for step in ld.steps)


def test_number_is_never_rated_as_another_class(small: Snapshot) -> None:
    answer = refused(small, SP, "+558001234567", area="11")
    assert answer.reason is Reason.NO_RATE
    assert "toll_free" in answer.detail


def test_short_number_never_meets_a_prefix(tmp_path: Path) -> None:
    plans = PLANS.replace('dial_plan = "own"', 'dial_plan = "nanp"')
    deck = "prefix;destination;class;price\n3;Three;fixed;1\n311;Services;public_service;9\n"
    lines = FILES["lines.csv"].replace("1004,dora,1004,,21,,\n", "")
    files = FILES | {"plans.toml": plans, "decks/class.csv": deck, "lines.csv": lines}
    snapshot = read_catalog(write(tmp_path, files))
    assert refused(snapshot, SP, "311").reason is Reason.NO_RATE


@settings(deadline=None)
@given(
    st.sampled_from([BASIC, SP]),
    st.text(st.sampled_from("+0123456789*#"), max_size=18) | st.text(max_size=10),
    st.sampled_from(["", "11", "21"]),
    st.integers(0, 4_000_000_000_000),
)
def test_any_number_at_any_time_is_rated_or_refused(
    small: Snapshot, plan: PlanId, number: str, area: str, at_ms: int
) -> None:
    answer = small.rate(plan, number, area=area, at_ms=at_ms)
    if isinstance(answer, Refused):
        assert not answer.reason.allows
        assert answer.detail
        return
    assert answer.destination_class == answer.quote.destination_class
    assert answer.emergency == (answer.destination_class == "emergency")
    read = small.plans[plan].dial_plan.read(number, area=area, at_ms=at_ms)
    assert isinstance(read, Normalised)
    assert answer.number == read.number
    if read.class_is_final:
        assert answer.destination_class == read.destination_class
    if not answer.prefix.startswith("#"):
        assert answer.number.startswith(answer.prefix)


def test_blocked_classes_and_prefixes(tmp_path: Path) -> None:
    plans = PLANS.replace(
        'blocked_classes = ["premium"]', 'blocked_classes = ["mobile"]\nblocked_prefixes = ["44"]'
    )
    snapshot = catalog(tmp_path, plans=plans)
    for number in ("+33612345678", "+442079460000"):
        answer = refused(snapshot, BASIC, number)
        assert answer.reason is Reason.BLOCKED_DESTINATION
        assert "bars" in answer.detail
    assert rated(snapshot, BASIC, "+33142345678").prefix == "33"


def test_longest_call_of_the_plan_is_the_horizon(tmp_path: Path) -> None:
    snapshot = catalog(tmp_path, plans=PLANS.replace("decimals = 2", "decimals = 2\nmax_call_s = 600"))
    assert rated(snapshot, BASIC, "+33142345678").quote.horizon_s == 600


# -- terms -------


def terms(snapshot: Snapshot, account: str, klass: str, at: str = "2026-11-24T12:00") -> Terms:
    at_ms = int(dt.datetime.fromisoformat(at).replace(tzinfo=ZoneInfo("Europe/Paris")).timestamp() * 1000)
    return snapshot.terms(AccountId(account), klass, at_ms)


@pytest.mark.parametrize(
    ("account", "when", "floor_micro", "use_money"),
    [
        ("ann", "credit", 0, True),
        ("bob", "credit", -20_000_000, True),
        ("cid", "credit", 0, True),
        ("cid", "block", 0, False),
        ("ann", "block", 0, True),
    ],
)
def test_floor_and_money_by_modality(
    tmp_path: Path, account: str, when: str, floor_micro: int, use_money: bool
) -> None:
    found = terms(catalog(tmp_path, plans=PLANS.replace('"credit"', f'"{when}"')), account, "fixed")
    assert (found.floor_micro, found.use_money, found.currency) == (floor_micro, use_money, "EUR")


def test_exhausted_allowance_may_go_postpaid(tmp_path: Path) -> None:
    accounts = FILES["accounts.toml"].replace(
        'modality = "allowance"', 'modality = "allowance"\ncredit_limit = "7.00"'
    )
    found = terms(
        catalog(tmp_path, plans=PLANS.replace('"credit"', '"postpaid"'), accounts=accounts), "cid", "fixed"
    )
    assert (found.floor_micro, found.use_money) == (-7_000_000, True)


def test_allowance_of_the_class_in_its_cycle(small: Snapshot) -> None:
    found = terms(small, "cid", "mobile")
    assert [term.grant for term in found.allowances] == ["basic/minutes"]
    term = found.allowances[0]
    paris = ZoneInfo("Europe/Paris")
    start = dt.datetime.fromtimestamp(term.valid_from_ms / 1000, paris)
    end = dt.datetime.fromtimestamp(term.valid_until_ms / 1000, paris)
    assert (start, end) == (dt.datetime(2026, 11, 15, tzinfo=paris), dt.datetime(2026, 12, 15, tzinfo=paris))
    assert term.seconds == 3600
    assert (term.cadence.free_s, term.cadence.first_s, term.cadence.next_s) == (3, 30, 6)
    assert {(t.kind, t.value, t.grant) for t in found.thresholds} == {
        (ThresholdKind.MONEY_BELOW, 5_000_000, None),
        (ThresholdKind.ALLOWANCE_PERCENT, 80, "basic/minutes"),
    }
    assert len({t.id for t in found.thresholds}) == 2


def test_other_classes_have_no_allowance_but_money_thresholds(small: Snapshot) -> None:
    for klass in ("intl_fixed", "inbound"):
        found = terms(small, "cid", klass)
        assert found.allowances == ()
        assert [t.kind for t in found.thresholds] == [ThresholdKind.MONEY_BELOW]


def test_cycle_is_renewed_at_its_end_and_may_be_asked_backwards(small: Snapshot) -> None:
    before, after = "2026-12-14T23:59:59", "2026-12-15T00:00"
    ends = [terms(small, "cid", "fixed", at).allowances[0].valid_until_ms for at in (before, after, before)]
    assert ends[0] == ends[2] == terms(small, "cid", "fixed", after).allowances[0].valid_from_ms
    assert ends[1] > ends[0]


def test_long_distance_goes_on_in_the_local_allowance() -> None:
    snapshot = read_catalog(CONFIG / "catalog-brazil")
    for klass, order in {
        "fixed_local": ["fixo_local"],
        "fixed_ld": ["fixo_ld", "fixo_local"],
        "mobile_ld": ["movel_ld", "movel_local"],
        "intl_mobile": ["inter_movel"],
        "toll_free": [],
    }.items():
        found = snapshot.terms(AccountId("loja"), klass, NOON_MS)
        assert [term.grant for term in found.allowances] == [f"franquia/{name}" for name in order]
        assert not found.use_money


# -- the wire ----


@pytest.mark.parametrize("folder", ["catalog", "catalog-brazil"])
def test_round_trip_keeps_everything(folder: str) -> None:
    snapshot = read_catalog(CONFIG / folder)
    placed = snapshot.placed({name: Shard(i) for i, name in enumerate(snapshot.accounts)}, 7)
    again = from_pieces(to_pieces(placed))
    assert again.version == 7
    assert again.content == placed.content
    assert list(to_pieces(again)) == list(to_pieces(placed))
    assert [account.shard for account in again.accounts.values()] == list(range(len(again.accounts)))
    for plan in snapshot.plans:
        for number in ("+33612345678", "+551133334444", "11998765432", "112", "x", "+905321234567", "0800123456"):
            one = placed.rate(plan, number, area="11", at_ms=NOON_MS)
            assert again.rate(plan, number, area="11", at_ms=NOON_MS) == one
    for name in snapshot.accounts:
        assert again.terms(name, "fixed_ld", NOON_MS) == placed.terms(name, "fixed_ld", NOON_MS)


def records(data: bytes) -> list[list[Any]]:
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    return list(unpacker)


def test_it_is_read_however_it_was_cut(small: Snapshot) -> None:
    whole = b"".join(to_pieces(small))
    for size in (1, 7, 4096, len(whole)):
        again = from_pieces(whole[at : at + size] for at in range(0, len(whole), size))
        assert again.content == small.content
        assert list(to_pieces(again)) == list(to_pieces(small))


def test_pieces_and_records_stay_small(tmp_path: Path) -> None:
    rows = "".join(f"{prefix},Elsewhere,intl_fixed,0.01\n" for prefix in range(100_000, 160_000))
    lines = "".join(f"{number},ann,{number},,,,\n" for number in range(2000, 4000))
    decks = {"decks/retail.csv": FILES["decks/retail.csv"] + rows}
    large = read_catalog(write(tmp_path, FILES | decks | {"lines.csv": FILES["lines.csv"] + lines}))
    pieces = list(to_pieces(large))
    assert len(pieces) > 3
    assert max(map(len, pieces)) < 2 * PIECE_BYTES + 1000
    kinds = Counter(kind for kind, _, _ in records(b"".join(pieces)))
    assert kinds["lines"] == -(-2004 // ROWS)
    assert kinds["array"] > 14, "one of them at least is longer than a piece"
    again = from_pieces(pieces)
    assert again.content == large.content
    assert [deck.to_bytes() for deck in again.decks] == [deck.to_bytes() for deck in large.decks]


def test_one_of_another_format_or_order_is_refused(small: Snapshot) -> None:
    first, *middle, last = records(b"".join(to_pieces(small)))
    deck = next(at for at, (kind, _, _) in enumerate(middle) if kind == "deck")
    for wrong in (
        [],
        [first],
        [first, *middle],
        [first, last],
        [first, *middle[:-1], last],
        [first, *middle, last, last],
        [first, *middle, middle[-1], last],
        [first, *reversed(middle), last],
        [first, *middle[: deck + 1], last],
        [["rater.catalog/9", *first[1:]], *middle, last],
        [first, ["thing", b"", b""], *middle, last],
        ["x"],
    ):
        with pytest.raises(CatalogError, match="cannot be read"):
            from_pieces(bytes(msgpack.packb(record)) for record in wrong)


def test_the_form_before_is_read(small: Snapshot) -> None:
    content: Any = TypeAdapter(Content).dump_python(small.content, mode="json")
    decks = [deck.to_bytes() for deck in small.decks]
    body = msgpack.packb({"version": 3, "content": content, "decks": decks})
    envelope = {"format": "rater.catalog/1", "sha256": hashlib.sha256(body).digest(), "body": body}
    again = from_text(bytes(msgpack.packb(envelope)))
    assert (again.version, again.content) == (3, small.content)
    for change in ({"format": "rater.catalog/9"}, {"sha256": b""}, {"body": body + b"x"}):
        with pytest.raises(CatalogError, match="cannot be read"):
            from_text(bytes(msgpack.packb(envelope | change)))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(data=st.data())
def test_damaged_snapshot_is_refused(small: Snapshot, data: st.DataObject) -> None:
    good = b"".join(to_pieces(small))
    at = data.draw(st.integers(0, len(good) - 1))
    damage = data.draw(st.sampled_from(["flip", "cut", "junk"]))
    bad = {"flip": good[:at] + bytes([good[at] ^ 255]) + good[at + 1 :], "cut": good[:at], "junk": good[at:]}[
        damage
    ]
    if bad == good:
        return
    with pytest.raises(CatalogError):
        from_pieces((bad,))


@pytest.mark.parametrize(
    "record",
    [(5, b"x", b"y"), (None, b"", b""), ("lines", 5, b"y"), ("lines", "x", b"y"), "abc", 5, {}, [], b"abc"],
)
def test_37_a_record_of_other_kinds_is_no_catalogue(small: Snapshot, record: object) -> None:
    """Damage may fall on what says what a record is."""
    for at in (0, 1, 3):
        pieces = list(to_pieces(small))
        whole = list(msgpack.Unpacker(io.BytesIO(b"".join(pieces)), max_bin_len=1 << 30))
        whole.insert(at, record)
        with pytest.raises(CatalogError):
            from_pieces([b"".join(msgpack.packb(each) for each in whole)])
