"""Re-rating what a real daemon charged: a run of the demonstration, from the outbox and from its exports."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from rater.charging.embedded import EmbeddedRedis
from tests.catalog.support import CONFIG, run, run_json

PERIOD = ("--from", "2020-01-01", "--to", "2090-01-01")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The settings of a demonstration that has ended, its Redis running again."""
    folder = tmp_path_factory.mktemp("d") / "d"
    code, summary = run_json("demo", "--seconds", "8", "--rate", "25", "--data-dir", str(folder), "--seed", "5",
                             "--catalog", str(CONFIG / "catalog"))  # fmt: skip
    assert code == 0, summary
    redis = EmbeddedRedis(folder / "redis")
    redis.start()
    try:
        yield folder / "rater.toml"
    finally:
        redis.stop()
        shutil.rmtree(folder, ignore_errors=True)


def test_the_catalogue_it_was_charged_by_changes_nothing(site: Path) -> None:
    words = ("rerate", *PERIOD, "--config", str(site))
    code, by_version = run_json(*words, "--version", "1")
    assert code == 0, by_version["outcomes"]
    assert by_version["changed"] == by_version["unpriced"] == by_version["adjustments"] == 0
    assert by_version["outcomes"]["rerated"] > 20
    assert by_version["outcomes"]["allowance"] > 0, "some legs were paid by allowances"
    assert by_version["passed_over"]["other_records"] > 0, "denials stand in the outbox too"
    assert by_version["totals"]["EUR"]["old_micro"] > 0
    code, by_folder = run_json(*words, "--catalog", str(CONFIG / "catalog"), "--numbers", "reached")
    assert code == 0
    assert by_folder["by_account"] == by_version["by_account"]
    assert by_folder["by_prefix"] == by_version["by_prefix"]


def test_exports_say_what_the_outbox_says(site: Path, tmp_path: Path) -> None:
    to = ("--version", "1", "--plan", "seconde=bureau", "--config", str(site))
    _, from_outbox = run_json("rerate", *PERIOD, *to)
    assert from_outbox["changed"] > 0
    for form in ("jsonl", "parquet"):
        path = tmp_path / f"e.{form}"
        assert run("events", "export", *PERIOD, "--format", form, "--out", str(path), "--config", str(site))[0] == 0
        _, from_file = run_json("rerate", *PERIOD, *to, "--events", str(path))
        assert from_file["run"] == from_outbox["run"]
        for view in ("totals", "outcomes", "by_account", "by_class", "by_prefix"):
            assert from_file[view] == from_outbox[view]


def test_it_posts_nothing(site: Path) -> None:
    _, before = run_json("audit", "--config", str(site))
    shown = [run("account", "show", name, "--config", str(site))[1] for name in ("taxi", "mairie", "famille")]
    code, summary = run_json("rerate", *PERIOD, "--version", "1", "--plan", "seconde=bureau", "--config", str(site))
    assert code in (0, 1)
    assert summary["adjustments"] > 0
    assert [
        run("account", "show", name, "--config", str(site))[1] for name in ("taxi", "mairie", "famille")
    ] == shown
    assert run_json("audit", "--config", str(site))[1] == before


def test_a_version_that_is_not_there_is_named(site: Path) -> None:
    code, _, err = run("rerate", *PERIOD, "--version", "77", "--config", str(site))
    assert code == 2
    assert "version 77 of the catalogue is not in Redis" in err
    assert "Those kept: 1." in err
