"""What the documentation, the alert rules and the dashboard name is what the product exposes."""

from __future__ import annotations

import re
from pathlib import Path

from rater.metrics import families

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/metrics.md"
ROW = re.compile(r"\| `(rater_\w+)` \| (\w+) \|([^|]*)\|")


def test_the_page_lists_exactly_what_is_exposed() -> None:
    listed = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(PAGE.read_text(encoding="utf-8"))
    }
    assert listed == families()
