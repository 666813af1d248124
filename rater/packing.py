"""How values and commands are written for Redis: picks the compiled writer or, with ``RATER_KERNEL=reference``, the
readable one. It is never chosen unasked: when the compiled one is missing, the import fails."""

from __future__ import annotations

import os

from rater.errors import ConfigError

if os.environ.get("RATER_KERNEL") == "reference":
    from rater.packing_reference import Command, Packed, first_text, named, numbers, sequence, trailing_number
else:
    try:
        from rater_native.command import Command  # type: ignore[assignment]  # its twin
        from rater_native.packing import (  # type: ignore[assignment]  # its twin
            Packed,
            first_text,
            named,
            numbers,
            sequence,
            trailing_number,
        )
    except ImportError as error:
        raise ConfigError(
            f"the compiled writer of values is missing: {error}",
            hint="Build it (pip install .), or set RATER_KERNEL=reference to run the slow one knowingly.",
        ) from error

__all__ = ["Command", "Packed", "first_text", "named", "numbers", "sequence", "trailing_number"]
