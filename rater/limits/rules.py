"""Limits as what the store is asked for. Pure: plain ids and numbers in, leases out.

A scope is what a limit counts: ``line:1001`` all its legs, ``line:1001:out`` and ``:in`` those of one direction,
``account:ACME:class:premium`` those of one class; likewise ``account:…`` and ``reseller:…``. A limit of None
asks for nothing.
"""

from __future__ import annotations

from rater.charging.terms import Lease
from rater.verdict import Reason

_CLASS_LIMIT = Reason.CLASS_LIMIT


def add_leases(
    found: list[Lease], scope: str, both: int | None, one_way: int | None, reason: Reason, outbound: bool,
    shadow: bool,
) -> None:  # fmt: skip
    """Puts those that one leg needs of one scope behind what was found: `both` directions together, then its own.
    `shadow`: told when reached, and nothing else."""
    if both is not None:
        found.append(Lease(scope, both, reason, shadow))
    if one_way is not None:
        found.append(Lease(scope + (":out" if outbound else ":in"), one_way, reason, shadow))


def class_lease(scope: str, destination_class: str, most: int, *, shadow: bool) -> Lease:
    return Lease(f"{scope}:class:{destination_class}", most, _CLASS_LIMIT, shadow)
