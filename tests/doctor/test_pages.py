"""What the pages say about the doctor is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from rater.verdict import Reason

ROOT = Path(__file__).resolve().parents[2]
PARTS = "switch|redis|embedded|catalog|grants|leader|outbox|mqtt|webhook|machine|metrics"


def test_every_check_is_on_its_page_and_no_other() -> None:
    code = "".join(path.read_text() for path in (ROOT / "rater" / "doctor").glob("*.py"))
    page = (ROOT / "docs" / "doctor.md").read_text()
    tables = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    checks = set(re.findall(rf'"((?:{PARTS})\.[a-z_]+)"', code))
    assert checks == set(re.findall(rf"`((?:{PARTS})\.[a-z_]+)`", tables))


def test_every_reason_is_on_the_page_of_the_gate() -> None:
    """But those that only a posting is refused with: no call ever carries them."""
    page = (ROOT / "deploy" / "asterisk" / "README.md").read_text()
    of_calls = set(Reason) - {Reason.REFUND_TOO_LARGE}
    missing = [reason.code for reason in of_calls if f"`{reason.code}`" not in page]
    assert not missing


def test_links_lead_somewhere() -> None:
    for page in (
        ROOT / "docs" / "doctor.md",
        ROOT / "docs" / "asterisk.md",
        ROOT / "deploy" / "asterisk" / "README.md",
    ):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"
