"""Both rating kernels in one process, and plans that price with either."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import rater_native.pricer
import rater_native.pricing
import rater_native.trie

from rater.catalog.pricing import PricedPlan
from rater.rating import reference
from rater.rating.tariff import PlanTariff


@dataclass(frozen=True)
class Kernel:
    """What `rater.rating.kernel` chooses between."""

    name: str
    Pricer: Any
    Trie: Any
    affordable_s: Callable[..., int]
    billed_s: Callable[..., int]
    cumulative_micro: Callable[..., int]
    pack_texts: Callable[..., Any]
    parse_decimals: Callable[..., Any]

    def tariff(self, tariff: PlanTariff) -> PlanTariff:
        """The same tariff, priced by this kernel."""
        twin = copy.copy(tariff)
        pricer = self.Pricer(
            tariff.deck, tariff.timeline, tariff.unit_micro, int(tariff.rounding), tariff.max_call_s
        )
        object.__setattr__(twin, "pricer", pricer)
        return twin

    def plan(self, plan: PricedPlan) -> PricedPlan:
        """The same plan, with all its versions, priced by this kernel."""
        twin = copy.copy(plan)
        twin.tariff = self.tariff(plan.tariff)
        twin._later = tuple(self.plan(later) for later in plan.versions[1:])
        return twin


COMPILED = Kernel(
    "compiled", rater_native.pricer.Pricer, rater_native.trie.Trie, rater_native.pricing.affordable_s,
    rater_native.pricing.billed_s, rater_native.pricing.cumulative_micro, rater_native.trie.pack_texts,
    rater_native.pricing.parse_decimals,
)  # fmt: skip
REFERENCE = Kernel(
    "reference", reference.Pricer, reference.Trie, reference.affordable_s, reference.billed_s,
    reference.cumulative_micro, reference.pack_texts, reference.parse_decimals,
)  # fmt: skip
KERNELS = (COMPILED, REFERENCE)
each_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
