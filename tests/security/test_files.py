"""Files with numbers in them are not for everybody."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rater.events.exporters import whole_file


@pytest.fixture(autouse=True)
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_an_export_is_for_owner_and_group(tmp_path: Path) -> None:
    with whole_file(tmp_path / "events.csv") as file:
        file.write(b"x")
    assert (tmp_path / "events.csv").stat().st_mode & 0o777 == 0o640
