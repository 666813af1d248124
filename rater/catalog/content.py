"""What is in a catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field

from rater.catalog.groups import Group
from rater.catalog.model import Account, Line, Reseller, SwitchRules, Trunk
from rater.catalog.plan import Plan
from rater.ids import AccountId, GroupId, LineId, PlanId, ResellerId, SwitchId, TrunkId


@dataclass(frozen=True, slots=True)
class Content:
    """What a snapshot holds besides the decks. `plan_decks`: which of the decks each version of each plan uses, by
    `Plan.key`."""

    plans: dict[PlanId, Plan]
    plan_decks: dict[PlanId, int]
    accounts: dict[AccountId, Account] = field(default_factory=dict)
    lines: dict[LineId, Line] = field(default_factory=dict)
    trunks: dict[TrunkId, Trunk] = field(default_factory=dict)
    switches: dict[SwitchId, SwitchRules] = field(default_factory=dict)
    resellers: dict[ResellerId, Reseller] = field(default_factory=dict)
    groups: dict[GroupId, Group] = field(default_factory=dict)
