"""Picks the kernel that looks up and prices: ``RATER_KERNEL=compiled`` (the default) or ``reference``.

The reference kernel is readable and slow. It is never used unless asked for: when the one chosen is missing, the
import fails.
"""

from __future__ import annotations

import os

from rater.errors import ConfigError

NAME = os.environ.get("RATER_KERNEL", "compiled")

if NAME == "compiled":
    try:
        from rater_native.pricer import Pricer
        from rater_native.pricing import affordable_s, billed_s, cumulative_micro, parse_decimals
        from rater_native.trie import Trie, pack_texts
    except ImportError as error:
        raise ConfigError(
            f"the compiled rating kernel is missing: {error}",
            hint="Build it (pip install .), or set RATER_KERNEL=reference to run the slow one knowingly.",
        ) from error
elif NAME == "reference":
    from rater.rating.reference import (  # type: ignore[assignment]  # same functions, other module
        Pricer,
        Trie,
        affordable_s,
        billed_s,
        cumulative_micro,
        pack_texts,
        parse_decimals,
    )
else:
    raise ConfigError(f"RATER_KERNEL is {NAME!r}", hint="Set it to compiled or reference, or leave it unset.")

__all__ = [
    "NAME", "Pricer", "Trie", "affordable_s", "billed_s", "cumulative_micro", "pack_texts", "parse_decimals",
]  # fmt: skip
