"""What the lab needs of the machine, and how to say that it is missing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

MARKER = ".complete"
"""Written last by tests/install-lab; holds Asterisk's version."""
PROGRAMS = ("sipp", "redis-server", "mosquitto", "setpriv", "unshare", "chroot", "mount")
HOW = "Run 'sudo tests/install-lab', then these tests as root (sudo tests/run); see docs/lab.md."


def lab_folder() -> Path | None:
    """The installed lab: that of RATER_LAB_SUITE when set, else the newest Asterisk there is."""
    base = Path(os.environ.get("RATER_LAB_DIR", "/var/cache/rater-lab"))
    wanted = os.environ.get("RATER_LAB_SUITE")
    suites = (
        (wanted, "bullseye") if wanted and wanted != "bullseye" else (wanted,) if wanted else ("sid", "bullseye")
    )
    return next((base / suite for suite in suites if (base / suite / MARKER).is_file()), None)


def require_lab() -> Path:
    """The installed lab's folder. Without one: fails in CI, skips elsewhere, with a sentence that helps."""
    missing = [f"the program {name}" for name in PROGRAMS if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.append("root")
    folder = lab_folder()
    if folder is None:
        missing.append("the installed Asterisk")
    if not missing and folder is not None:
        return folder
    sentence = f"The lab tests need {', '.join(missing)}. {HOW}"
    if os.environ.get("CI") == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)
