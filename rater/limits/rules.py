"""Simultaneous-call limits as leases. Pure: plain ids and numbers in, leases out.

A scope is what a limit counts: ``line:1001`` all its legs, ``line:1001:out`` and ``:in`` those of one direction;
likewise ``account:…`` and ``trunk:…``. A limit of None takes no lease.
"""

from __future__ import annotations

from collections.abc import Iterator

from rater.charging.model import Lease
from rater.verdict import Reason

Limits = tuple[int | None, int | None, int | None]
"""Most simultaneous legs: both directions together, outbound, inbound."""


def leases(
    *,
    outbound: bool,
    account: str,
    account_limits: Limits,
    line: str | None = None,
    line_limits: Limits | None = None,
    trunk: str | None = None,
    trunk_limit: int | None = None,
) -> tuple[Lease, ...]:
    """The leases that one leg needs, the narrowest scope first."""
    found: list[Lease] = []
    if line is not None and line_limits is not None:
        found += _of(f"line:{line}", line_limits, outbound, Reason.LINE_LIMIT)
    found += _of(f"account:{account}", account_limits, outbound, Reason.ACCOUNT_LIMIT)
    if trunk is not None and trunk_limit is not None:
        found.append(Lease(f"trunk:{trunk}", trunk_limit, Reason.TRUNK_LIMIT))
    return tuple(found)


def _of(scope: str, limits: Limits, outbound: bool, reason: Reason) -> Iterator[Lease]:
    both, out_limit, in_limit = limits
    if both is not None:
        yield Lease(scope, both, reason)
    one_way = out_limit if outbound else in_limit
    if one_way is not None:
        yield Lease(f"{scope}:{'out' if outbound else 'in'}", one_way, reason)
