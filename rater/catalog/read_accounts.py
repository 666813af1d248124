"""`accounts.toml`, `trunks.toml`, `switches.toml`: who pays, and how a switch is read."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from zoneinfo import ZoneInfo

from rater.catalog.classes import NEVER_IN_A_DECK
from rater.catalog.groups import Group
from rater.catalog.model import (
    Account,
    Barred,
    CallLimits,
    Enforce,
    Modality,
    Notify,
    OffHours,
    PayerSource,
    Reseller,
    SpendCaps,
    SwitchRules,
    Trunk,
)
from rater.catalog.plan import Plan, WhenExhausted
from rater.catalog.read_bands import read_window
from rater.catalog.read_groups import read_groups
from rater.catalog.read_plans import PREFIX, PREFIX_EXPECTED
from rater.catalog.read_thresholds import read_own_thresholds
from rater.catalog.table import Table, describe
from rater.ids import AccountId, GroupId, PlanId, ResellerId, SwitchId, TrunkId
from rater.money import MAX_CALL_S
from rater.rating.bands import Calendar
from rater.rating.moments import EXPECTED, parse_moment
from rater.rating.timeline import LAST_AT_MS

_SWITCH = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_SWITCH_EXPECTED = "1 to 32 lower-case letters, digits or '-', as in the settings"
_PATTERN = re.compile(r"[A-Za-z0-9]+/[^\s]{1,100}")
_ADDRESS = re.compile(r"(?=.{3,254}$)[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_LANGUAGE = re.compile("en|fr|pt_BR|tr")
ADDRESSES_MAX = 10
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


MOST_PER_SECOND = 1000


@dataclass(frozen=True, slots=True)
class Payers:
    """What `accounts.toml` says. `off_hours`: the rules that lines may name."""

    accounts: dict[AccountId, Account] = field(default_factory=dict)
    resellers: dict[ResellerId, Reseller] = field(default_factory=dict)
    groups: dict[GroupId, Group] = field(default_factory=dict)
    off_hours: dict[str, OffHours] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Context:
    """What an account may refer to."""

    plans: Mapping[PlanId, Plan]
    resellers: Mapping[ResellerId, Reseller]
    classes: Collection[str]
    calendars: Mapping[str, Calendar]


def read_accounts(
    top: Table, plans: Mapping[PlanId, Plan], classes: Collection[str], calendars: Mapping[str, Calendar]
) -> Payers:
    """Accounts, resellers, sharing groups, off-hours. `classes`: those that decks may use."""
    resellers = {ResellerId(name): _reseller(ResellerId(name), table) for name, table in top.named("reseller")}
    context = _Context(plans, resellers, set(classes) - NEVER_IN_A_DECK, calendars)
    accounts = {AccountId(name): _account(AccountId(name), table, context) for name, table in top.named("account")}
    groups = read_groups(top, accounts, plans, context.classes)
    off_hours = {name: _off_hours(table, context) for name, table in top.named("off_hours")}
    top.finish()
    return Payers(accounts, resellers, groups, off_hours)


def _reseller(name: ResellerId, table: Table) -> Reseller:
    reseller = Reseller(name, table.text("name", name), limits=_simultaneous(table.table("limits")))
    table.finish()
    return reseller


def _account(name: AccountId, table: Table, context: _Context) -> Account:
    plans = context.plans
    account = Account(
        id=name,
        plan=PlanId(table.reference("plan", plans, "plan")),
        modality=table.choice("modality", Modality),
        name=table.text("name", name),
        active=table.flag("active", True),
        opening_micro=table.amount("opening", 0),
        credit_limit_micro=table.amount("credit_limit", 0),
        limits=_limits(table.table("limits"), context.classes),
        barred=_barred(table, context.classes),
        spend=_spend(table.table("spend")),
        reseller=ResellerId(table.reference("reseller", context.resellers, "reseller", "")) or None,
        enforce=table.choice("enforce", Enforce, Enforce.ON),
        notify=_notify(table.table("notify")),
        off_hours=_off_hours(table.table("off_hours"), context, spends=True) if "off_hours" in table else None,
    )
    plan = plans.get(account.plan)
    account = replace(account, since_ms=_since(table, plan.zone if plan is not None else "UTC"))
    if "thresholds" in table:
        account = replace(account, thresholds=read_own_thresholds(table.table("thresholds"), plan))
    table.finish()
    if plan is not None and "modality" in table:
        _check_modality(account, plan, table)
    return account


def _since(table: Table, zone: str) -> int:
    text = table.text("since", "", expected=EXPECTED)
    since_ms = parse_moment(text, ZoneInfo(zone)) if text else 0
    if since_ms is None or not 0 <= since_ms < LAST_AT_MS:
        table.fault("since", f"{describe(text)} cannot stand here", f"{EXPECTED}, from 1970 to 2099")
        return 0
    return since_ms


def _check_modality(account: Account, plan: Plan, table: Table) -> None:
    """Contradictions that would deny every call, or a limit that would never be used."""
    allowance = account.modality is Modality.ALLOWANCE
    if allowance and not plan.allowances:
        table.fault("modality", f"the plan {plan.id!r} has no allowances", "prepaid or postpaid, or another plan")
    on_credit = account.modality is Modality.POSTPAID or (
        allowance and plan.when_exhausted is WhenExhausted.POSTPAID
    )
    if account.modality is Modality.POSTPAID and "credit_limit" not in table:
        table.fault(None, f"the postpaid account {account.id!r} has no credit_limit", 'an amount such as "100.00"')
    if account.credit_limit_micro and not on_credit:
        table.fault(
            "credit_limit",
            "this account may not go under zero, so that a credit limit means nothing",
            'modality = "postpaid", a plan with when_exhausted = "postpaid", or no credit_limit',
        )


def _simultaneous(table: Table) -> CallLimits:
    limits = CallLimits(
        table.limit("both"), table.limit("out"), table.limit("in"),
        enforce=table.choice("enforce", Enforce, Enforce.ON),
    )  # fmt: skip
    table.finish()
    return limits


def _limits(table: Table, classes: Collection[str]) -> CallLimits:
    """Those of an account, which may have more than a reseller's."""
    rate = table.integer("calls_per_second", 0, low=1, high=MOST_PER_SECOND)
    by_class = table.limits_by("classes", classes)
    return replace(_simultaneous(table), per_second=rate or None, classes=by_class)


def _barred(table: Table, classes: Collection[str]) -> Barred:
    return Barred(
        tuple(sorted(table.texts("blocked_classes", among=classes))),
        table.texts("blocked_prefixes", pattern=PREFIX, expected=PREFIX_EXPECTED),
        table.integer("max_call_s", 0, low=1, high=MAX_CALL_S) or None,
    )


def _spend(table: Table) -> SpendCaps:
    caps = SpendCaps(
        table.amount_or_none("hour"),
        table.amount_or_none("day"),
        table.choice("enforce", Enforce, Enforce.ON),
    )
    table.finish()
    return caps


def _off_hours(table: Table, context: _Context, *, spends: bool = False) -> OffHours:
    """Of an account, which has caps of money (`spends`), or what a line may name."""
    windows = table.tables("windows")
    if not windows:
        table.fault(
            None, "off-hours without hours", 'windows = [{ days = "mon-fri", from = "20:00", to = "07:00" }]'
        )
    rule = OffHours(
        tuple(read_window(window, context.calendars) for window in windows),
        CallLimits(
            table.limit("both"),
            table.limit("out"),
            table.limit("in"),
            classes=table.limits_by("classes", context.classes),
        ),
        Barred(
            tuple(sorted(table.texts("blocked_classes", among=context.classes))),
            table.texts("blocked_prefixes", pattern=PREFIX, expected=PREFIX_EXPECTED),
        ),
        SpendCaps(table.amount_or_none("spend_hour"), table.amount_or_none("spend_day")) if spends else SpendCaps(),
    )
    for key in ("spend_hour", "spend_day"):
        if not spends and key in table:
            table.fault(key, "money is counted of an account, not of a line", "spend in the account's off_hours")
    if windows and rule == OffHours(rule.windows):
        expected = "both, out, in, classes, blocked_classes, blocked_prefixes" + ", spend_hour, spend_day" * spends
        table.fault(None, "off-hours that limit nothing", f"one of {expected}")
    table.finish()
    return rule


def _notify(table: Table) -> Notify:
    notify = Notify(
        table.texts("email", pattern=_ADDRESS, expected="mail addresses"),
        table.text("language", "", pattern=_LANGUAGE, expected="en | fr | pt_BR | tr"),
    )
    if len(notify.email) > ADDRESSES_MAX:
        table.fault("email", f"there are {len(notify.email)} addresses", f"at most {ADDRESSES_MAX}")
    table.finish()
    return notify


def read_switches(top: Table) -> dict[SwitchId, SwitchRules]:
    switches = {}
    for name, table in top.named("switch", _SWITCH_EXPECTED):
        if _SWITCH.fullmatch(name) is None:
            table.fault(None, f"{name!r} is no name of a switch", _SWITCH_EXPECTED)
            continue
        default = SwitchRules(SwitchId(name))
        payer = table.texts("payer", tuple(default.payer), among=[source.value for source in PayerSource])
        if "payer" in table and not payer:
            table.fault("payer", "the list is empty", "accountcode, endpoint, variable in the order of looking")
        variable = table.text(
            "payer_variable", default.payer_variable, pattern=_VARIABLE, expected="the name of a channel variable"
        )
        switches[SwitchId(name)] = SwitchRules(SwitchId(name), tuple(map(PayerSource, payer)), variable)
        table.finish()
    top.finish()
    return switches


def read_trunks(top: Table, switches: Collection[SwitchId]) -> dict[TrunkId, Trunk]:
    trunks: dict[TrunkId, Trunk] = {}
    for name, table in top.named("trunk"):
        switch = table.reference("switch", switches, "switch", "")
        pattern = table.text(
            "pattern", pattern=_PATTERN, expected='a pattern on channel names, such as "PJSIP/trunk-*"'
        )
        trunk = Trunk(
            TrunkId(name),
            SwitchId(switch) if switch else None,
            pattern,
            table.limit("max_calls"),
            table.choice("enforce", Enforce, Enforce.ON),
        )
        for other in trunks.values():
            together = trunk.switch == other.switch or None in (trunk.switch, other.switch)
            if pattern and other.pattern == pattern and together:
                table.fault("pattern", f"the trunk {other.id!r} has the same pattern", "another pattern")
        trunks[trunk.id] = trunk
        table.finish()
    top.finish()
    return trunks
