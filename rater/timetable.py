"""Who is due when: picks the compiled timetable or, with ``RATER_KERNEL=reference``, the readable one. It is never
chosen unasked: when the compiled one is missing, the import fails."""

from __future__ import annotations

import os

from rater.errors import ConfigError

if os.environ.get("RATER_KERNEL") == "reference":
    from rater.timetable_reference import Timetable
else:
    try:
        from rater_native.timetable import Timetable  # type: ignore[assignment]  # its twin
    except ImportError as error:
        raise ConfigError(
            f"the compiled timetable is missing: {error}",
            hint="Build it (pip install .), or set RATER_KERNEL=reference to run the slow one knowingly.",
        ) from error

__all__ = ["Timetable"]
