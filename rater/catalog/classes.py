"""The destination classes that every catalogue knows; `plans.toml` may add others under ``classes``."""

from __future__ import annotations

STANDARD = {
    "fixed": "fixed lines, where the plan does not tell local from long distance",
    "mobile": "mobiles, likewise",
    "fixed_local": "fixed lines in the line's own local area",
    "fixed_ld": "fixed lines further away",
    "mobile_local": "mobiles of the line's own area (VC1)",
    "mobile_ld": "mobiles of other areas (VC2, VC3)",
    "intl_fixed": "fixed lines abroad",
    "intl_mobile": "mobiles abroad",
    "toll_free": "freephone",
    "shared_cost": "numbers whose cost caller and called share",
    "premium": "numbers at a premium price",
    "satellite": "satellite telephones",
    "public_service": "public services with a short number",
    "short_code": "other short numbers",
    "collect": "calls that the called pays, where they are allowed",
    "emergency": "emergency numbers: always free, never in a deck",
    "inbound": "calls from a trunk to a line: free, never in a deck",
}
NEVER_IN_A_DECK = frozenset({"emergency", "inbound"})
