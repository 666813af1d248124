"""The one reason code that a verdict carries, in its fixed order of precedence.

When several rules deny, the one that stands first here is reported. Rules that need no balance stand before the
limits, and the limits before the money: a subscriber who may not call a place at all is told so first.
"""

from enum import IntEnum


class Reason(IntEnum):
    """Why a leg was allowed or denied. Values are stored and must never be renumbered."""

    ALLOWED = 0
    EMERGENCY = 1
    """Allowed: an emergency number, free, exempt from every limit."""

    MALFORMED_NUMBER = 10
    UNKNOWN_PAYER = 11
    ACCOUNT_INACTIVE = 12
    LINE_INACTIVE = 13
    UNKNOWN_NUMBER = 14
    """Well formed, but no such number exists in the dial plan."""
    BLOCKED_DESTINATION = 15
    COLLECT_CALL = 16
    NO_RATE = 17
    """No prefix of the plan's deck has a rate in force."""

    LINE_LIMIT = 30
    ACCOUNT_LIMIT = 31
    TRUNK_LIMIT = 32
    CLASS_LIMIT = 33
    RESELLER_LIMIT = 34
    CALL_RATE_LIMIT = 35
    SPEND_LIMIT = 36
    MARGIN_FLOOR = 37
    MAX_LENGTH = 38
    """Denies nothing: the longest call was reached. Told of a leg in shadow that goes on."""

    ALLOWANCE_EXHAUSTED = 50
    INSUFFICIENT_CREDIT = 51
    OUT_OF_RANGE = 52
    """A posting would take a balance or a total beyond the exact range, or an account beyond its number of
    grants."""
    REFUND_TOO_LARGE = 53
    """The event was not charged so much, or it was refunded before."""

    STORE_UNAVAILABLE = 70
    STALE_LEADER = 71
    NOT_READY = 72
    """The daemon is resynchronising with the switch, or has no catalogue."""
    OVERLOADED = 73
    """More calls come than the daemon can decide: this one had waited too long when its turn came."""

    allows: bool
    code: str
    """The lower-case name that metrics, events and channel variables carry."""

    def __init__(self, value: int) -> None:
        self.allows = value < 10
        self.code = self._name_.lower()
