"""Who calls whom: lines, their accounts and numbers, by index alone, so that the catalogue, the load generator and
the audit all know them without telling each other."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

LINES_PER_ACCOUNT = 5
FIRST_LINE = 200_000
PREPAID, POSTPAID, BUNDLE, POOR = "prepaid", "postpaid", "bundle", "poor"
_MODALITIES = (PREPAID, POSTPAID, PREPAID, BUNDLE, PREPAID, POSTPAID, BUNDLE, PREPAID, POSTPAID, BUNDLE)
POOR_OPENING = "0.03"
PRICE_MICRO_S = {"331": 10_000, "336": 20_000, "44": 12_000, "49": 11_000, "1": 5_000}
"""What a second costs, by the beginning of the number; the longest one counts."""
PREMIUM = "33899"
"""Blocked by every plan."""
POOR_NUMBER = "33142345678"
"""What those call whose account runs dry."""


@dataclass(frozen=True, slots=True)
class People:
    """`usual` lines of ordinary accounts come first, then `poor` ones of an account each. `numbers`: how many
    different ones are called."""

    usual: int
    poor: int
    numbers: int = 20_000

    @property
    def accounts(self) -> int:
        return -(-self.usual // LINES_PER_ACCOUNT)

    def line(self, index: int) -> str:
        return str(FIRST_LINE + index)

    def account(self, index: int) -> str:
        return f"A{index // LINES_PER_ACCOUNT}" if index < self.usual else f"P{index - self.usual}"

    def modality(self, index: int) -> str:
        """Of a line's account."""
        if index >= self.usual:
            return POOR
        return _MODALITIES[index // LINES_PER_ACCOUNT % len(_MODALITIES)]

    def all_numbers(self) -> list[str]:
        """Half of them French, the rest elsewhere; never a premium one."""
        random = Random(1)
        beginnings = ("3314", "3361", "3316", "3367", "4420", "3314", "49305", "3314", "1212", "336")
        lengths = (11, 11, 11, 11, 12, 11, 12, 11, 11, 11)
        numbers = []
        for index in range(self.numbers):
            start, length = beginnings[index % 10], lengths[index % 10]
            rest = "".join(str(random.randint(2, 9)) for _ in range(length - len(start)))
            numbers.append(start + rest)
        return numbers


def premium_number(index: int) -> str:
    return f"{PREMIUM}{index % 10_000:06d}"[:11]


def price_micro_s(number: str) -> int:
    """A second to that number, looked up in the plainest way."""
    return max(((len(p), price) for p, price in PRICE_MICRO_S.items() if number.startswith(p)), default=(0, 0))[1]
