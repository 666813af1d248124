"""Attributes of records that are read for each leg: picks the compiled reader or, with ``RATER_KERNEL=reference``,
the readable one. It is never chosen unasked: when the compiled one is missing, the import fails."""

from __future__ import annotations

import os

from rater.errors import ConfigError

if os.environ.get("RATER_KERNEL") == "reference":
    from rater.attributes_reference import Attribute
else:
    try:
        from rater_native.attributes import Attribute  # type: ignore[assignment]  # its twin
    except ImportError as error:
        raise ConfigError(
            f"the compiled reader of attributes is missing: {error}",
            hint="Build it (pip install .), or set RATER_KERNEL=reference to run the slow one knowingly.",
        ) from error

__all__ = ["Attribute"]
