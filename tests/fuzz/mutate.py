"""Spoils bytes and values, from a seed: the same seed spoils alike."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

PIECES = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b"\xff", b"\xc3", b":", b": ", b" ", b'"', b"'", b"[", b"]", b"{",
    b"}", b"=", b",", b";", b"-", b"+", b"0", b"9" * 25, b"1e308", b"nan", b"inf", b"true", b"\xef\xbb\xbf",
    b"\xe2\x80\xa8", b"Event: Hangup\r\n", b"Event: DialBegin\r\n", b"Response: Follows\r\n", b"--END COMMAND--",
    b"ChanVariable: a=b\r\n", b"!tampered: x\r\n", b"Action: Originate\r\n", b"x" * 300, b"9223372036854775808",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**63, -(2**63), 2**64 - 1, 0.5, float("inf"), float("nan"), "", "x",
    "\0", "\ud800"[:0], "é" * 100, b"", b"\xff" * 40, [], [[]], {}, {"a": {}}, [None] * 20, "9" * 30,
)  # fmt: skip


def spoil_bytes(dice: random.Random, samples: Sequence[bytes], most: int = 8) -> bytes:
    """One of the samples with some faults, a piece of another among them."""
    data = bytearray(dice.choice(samples))
    for _ in range(dice.randrange(most + 1)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(7):
            case 0 if data:
                data[min(at, len(data) - 1)] = dice.randrange(256)
            case 1:
                del data[at : at + dice.randrange(60)]
            case 2:
                data[at:at] = dice.randbytes(dice.randrange(16))
            case 3:
                data[at:at] = data[at : at + dice.randrange(120)]
            case 4:
                other = dice.choice(samples)
                start = dice.randrange(len(other) + 1)
                data[at:at] = other[start : start + dice.randrange(120)]
            case 5:
                data[at:] = b""
            case _:
                data[at:at] = dice.choice(PIECES)
    return bytes(data)


def spoil_value(dice: random.Random, value: Any, chance: float = 0.15) -> Any:
    """The value with some of what is in it replaced, dropped, doubled or renamed, at any depth."""
    if dice.random() < chance:
        return dice.choice(VALUES)
    if isinstance(value, dict):
        spoilt = {k: spoil_value(dice, v, chance) for k, v in value.items() if dice.random() > chance / 3}
        if dice.random() < chance:
            spoilt[dice.choice(("x", "id", "", "amount_micro", 5))] = dice.choice(VALUES)
        return spoilt
    if isinstance(value, list | tuple):
        kept = [spoil_value(dice, each, chance) for each in value if dice.random() > chance / 3]
        return kept * 2 if dice.random() < chance / 3 else kept
    if isinstance(value, str) and value and dice.random() < chance:
        at = dice.randrange(len(value))
        return value[:at] + dice.choice(("\r\n", "\0", "é", "-", "9" * 20, "")) + value[at + 1 :]
    return value
