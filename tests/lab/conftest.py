"""The lab's fixtures: one Asterisk for all tests, telephones and trunks for each.

When a test fails, the ends of all logs concerned are shown with it, each under its path.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from .ami import Ami
from .asterisk import Asterisk
from .require import require_lab
from .sipp import Telephony
from .site import Site

Logs = list[Callable[[], str]]
_logs = pytest.StashKey[Logs]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.lab)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    if report.failed:
        for show in item.stash.get(_logs, []):
            report.sections.append(("lab", show()))
    return report


@pytest.fixture
def logs(request: pytest.FixtureRequest) -> Logs:
    """Functions that show the end of some log; called when the test has failed."""
    return request.node.stash.setdefault(_logs, [])


@pytest.fixture(scope="session")
def lab_tree() -> Path:
    return require_lab()


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("lab")
    yield folder
    for name in ("etc", "lib", "spool", "cache"):
        shutil.rmtree(folder / "asterisk" / name, ignore_errors=True)


@pytest.fixture(scope="session")
def the_asterisk(lab_tree: Path, lab_folder: Path) -> Iterator[Asterisk]:
    asterisk = Asterisk(lab_tree, lab_folder / "asterisk")
    asterisk.start()
    print(f"\nlab: Asterisk {asterisk.version()}, everything under {lab_folder}")
    yield asterisk
    asterisk.stop()


@pytest.fixture
def asterisk(the_asterisk: Asterisk, logs: Logs) -> Iterator[Asterisk]:
    """The running Asterisk, without calls, without a heartbeat; calls that a test leaves behind are ended."""
    logs.append(the_asterisk.tail)
    if the_asterisk.running:
        the_asterisk.until_booted()  # a test may have restarted it
    else:
        the_asterisk.start()
    with Ami(the_asterisk.ami_port, events="off") as ami:
        for name in ("RATER_BEAT", "RATER_FAIL", "RATER_FAIL_IN"):
            ami.action("Setvar", Variable=name, Value="")
    yield the_asterisk
    if the_asterisk.running:
        the_asterisk.hang_up_everything()


@pytest.fixture
def ami(asterisk: Asterisk) -> Iterator[Ami]:
    """The tests' own connection, with every event from now on."""
    with Ami(asterisk.ami_port) as connection:
        yield connection


@pytest.fixture
def phones(asterisk: Asterisk, ami: Ami, tmp_path: Path, logs: Logs) -> Iterator[Telephony]:
    def set_global(name: str, value: object) -> None:
        ami.action("Setvar", Variable=name, Value=value)

    telephony = Telephony(tmp_path / "sipp", asterisk.sip_port, set_global)
    logs.append(lambda: "\n".join(sipp.tail() for sipp in telephony.all))
    yield telephony
    telephony.stop()


@pytest.fixture
def beat(ami: Ami) -> Callable[[], None]:
    """Beats once, as the daemon does each second: for the next 3 s the gate believes that it is there."""

    def once() -> None:
        ami.action("Setvar", Variable="RATER_BEAT", Value=int(time.time()))

    return once


@pytest.fixture
def new_site(asterisk: Asterisk, tmp_path: Path, logs: Logs) -> Iterator[Callable[..., Site]]:
    """Makes a site of its own around the lab's Asterisk, its daemon ready; see `rater.config` for the options."""
    sites: list[Site] = []

    def make(*, mode: str = "gate", fail: str = "closed", **charging: int) -> Site:
        site = Site(tmp_path / f"site{len(sites)}", asterisk.ami_port)
        sites.append(site)
        logs.append(site.tail)
        site.open(mode=mode, fail=fail, charging=charging)
        site.start_daemon()
        return site

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    """A site in gate mode that fails closed."""
    return new_site()
