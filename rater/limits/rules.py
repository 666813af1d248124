"""Limits as what the store is asked for. Pure: plain ids and numbers in; leases and call rates out.

A scope is what a limit counts: ``line:1001`` all its legs, ``line:1001:out`` and ``:in`` those of one direction,
``account:ACME:class:premium`` those of one class; likewise ``account:…`` and ``reseller:…``. A limit of None
asks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rater.charging.terms import CallRate, Lease
from rater.verdict import Reason


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one line, account or reseller: most simultaneous legs in both directions together, outbound, inbound; most
    outbound attempts in any second. `shadow`: told when reached, and nothing else."""

    both: int | None = None
    outbound: int | None = None
    inbound: int | None = None
    per_second: int | None = None
    shadow: bool = False


def leases(scope: str, limits: Limits, reason: Reason, *, outbound: bool) -> Iterator[Lease]:
    """The leases that one leg needs of one scope."""
    if limits.both is not None:
        yield Lease(scope, limits.both, reason, limits.shadow)
    one_way = limits.outbound if outbound else limits.inbound
    if one_way is not None:
        yield Lease(f"{scope}:{'out' if outbound else 'in'}", one_way, reason, limits.shadow)


def class_lease(scope: str, destination_class: str, most: int, *, shadow: bool) -> Lease:
    return Lease(f"{scope}:class:{destination_class}", most, Reason.CLASS_LIMIT, shadow)


def call_rate(scope: str, limits: Limits, *, outbound: bool) -> Iterator[CallRate]:
    """Of outbound attempts only: a ring group of twenty is twenty inbound legs in one moment."""
    if outbound and limits.per_second is not None:
        yield CallRate(scope, limits.per_second, shadow=limits.shadow)
