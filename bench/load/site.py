"""A whole site for a run: Redis, catalogue, daemon and load generator, each a process of its own, on 127.0.0.1.

All of it is the product as an operator has it: a redis-server that writes every command to the disk before it
answers, the catalogue published by `rater catalog load`, the daemon started as `rater serve`, with limits,
allowances, thresholds and metrics. Each is a session of its own, as services are, so that the scheduler gives each
its share beside the machine's other work.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any

from bench.load.machine import Machine
from bench.load.people import POOR_OPENING, PREMIUM, PRICE_MICRO_S, People
from bench.load.servers import Redis, RedisCluster, free_port, stop

ROOT = Path(__file__).resolve().parents[2]
RATER = [str(Path(sys.executable).with_name("rater"))]
LOOK_S = 1.0
"""How often, while the generator is waited for, the daemons are looked at."""
SAID = 5
"""Last lines of the log of one that has ended."""
_PLANS = """
[plan.second]
name = "By the second, prepaid"
{common}
[plan.second.thresholds]
money_below = ["999.00", "990.00", "0.01"]

[plan.credit]
name = "By the second, postpaid"
{common}
[plan.credit.thresholds]
money_below = ["0.00"]

[plan.bundle]
name = "Minutes included"
{common}
when_exhausted = "credit"
[plan.bundle.thresholds]
allowance_percent = [80, 100]
money_below = ["99.00"]
[[plan.bundle.allowance]]
id = "near"
classes = ["fixed", "mobile"]
minutes = 8
[[plan.bundle.allowance]]
id = "far"
classes = ["intl_fixed"]
also = ["intl_mobile"]
minutes = 4
cycle = "weekly"
"""
_COMMON = """currency = "EUR"
decimals = 6
zone = "Europe/Paris"
dial_plan = "e164"
deck = "decks/retail.csv"
max_call_s = 14400
blocked_classes = ["premium", "satellite"]"""
_CLASSES = {"331": "fixed", "336": "mobile", "44": "intl_fixed", "49": "intl_fixed", "1": "intl_fixed"}
_MODALITIES = {
    "prepaid": 'plan = "second"\nmodality = "prepaid"\nopening = "1000.00"\n',
    "postpaid": 'plan = "credit"\nmodality = "postpaid"\ncredit_limit = "5000.00"\n',
    "bundle": 'plan = "bundle"\nmodality = "allowance"\nopening = "100.00"\n',
    "poor": f'plan = "second"\nmodality = "prepaid"\nopening = "{POOR_OPENING}"\n',
}


def write_catalog(folder: Path, people: People, switches: int, *, prefixes: int = 2_000) -> Path:
    """`prefixes`: rows of the deck beyond those that are called."""
    (folder / "decks").mkdir(parents=True, exist_ok=True)
    (folder / "plans.toml").write_text(_PLANS.format(common=_COMMON))
    limits = "limits = { both = 40, out = 35 }\n"
    accounts = [
        f"[account.{people.account(index)}]\n{_MODALITIES[people.modality(index)]}{limits}"
        for index in [*range(0, people.usual, 5), *range(people.usual, people.usual + people.poor)]
    ]
    (folder / "accounts.toml").write_text("".join(accounts))
    rows = ["line,account,endpoint,account_code,active,limit"]
    for index in range(people.usual + people.poor):
        line = people.line(index)
        rows.append(f"{line},{people.account(index)},{line},{line},yes,4")
    (folder / "lines.csv").write_text("\n".join(rows) + "\n")
    names = [f"pbx{number}" for number in range(1, switches + 1)]
    (folder / "switches.toml").write_text("".join(f"[switch.{name}]\n" for name in names))
    trunks = "".join(
        f'[trunk.{trunk}_{name}]\nswitch = "{name}"\npattern = "PJSIP/{trunk}-*"\nmax_calls = 100000\n'
        for name in names
        for trunk in ("trunk", "trunk2")
    )
    (folder / "trunks.toml").write_text(trunks)
    write_deck(folder / "decks" / "retail.csv", prefixes)
    return folder


def write_deck(path: Path, prefixes: int, seed: int = 7) -> None:
    """The prefixes that are called, premium ones, and others that nobody calls."""
    rows = ["prefix,destination,class,price,per"]
    for prefix, price_micro in PRICE_MICRO_S.items():
        rows.append(f"{prefix},Called {prefix},{_CLASSES[prefix]},{price_micro / 1e6:.6f},1")
    rows.append(f"{PREMIUM[:4]},Premium,premium,0.050000,1")
    random, seen = Random(seed), set(PRICE_MICRO_S)
    while len(rows) < prefixes:
        prefix = random.choice(("81", "86", "91", "7", "62", "20")) + str(random.randint(100_000, 9_999_999))
        if prefix not in seen:
            seen.add(prefix)
            rows.append(f"{prefix},Elsewhere,intl_fixed,{random.choice((0.004, 0.006, 0.009)):.6f},1")
    path.write_text("\n".join(rows) + "\n")


class Generator:
    """The load generator's process: orders in, figures out. One order at a time."""

    def __init__(self, folder: Path, people: People, switches: int, arguments: Sequence[str] = ()) -> None:
        self.records = folder / "calls.bin"
        words = [
            sys.executable, "-m", "bench.load", "--switches", str(switches), "--usual", str(people.usual),
            "--poor", str(people.poor), "--records", str(self.records), *arguments,
        ]  # fmt: skip
        self.daemons: dict[Path, subprocess.Popen[bytes]] = {}
        """Without whom there is nothing to wait for, by their logs."""
        self.process = subprocess.Popen(
            words,
            cwd=ROOT,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": "0"},
            start_new_session=True,
        )
        self.ports: list[int] = self.answer()["ports"]

    def answer(self) -> dict[str, Any]:
        """To the last order. Raises RuntimeError when the generator or a daemon has ended."""
        assert self.process.stdout is not None
        while not select.select([self.process.stdout], [], [], LOOK_S)[0]:
            for log, daemon in self.daemons.items():
                if daemon.poll() is not None:
                    said = "\n".join(log.read_text(errors="replace").splitlines()[-SAID:])
                    raise RuntimeError(f"the daemon ended with {daemon.returncode}: {said}")
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator ended with {self.process.wait()}")
        result: dict[str, Any] = json.loads(line)
        return result

    def tell(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, **order: Any) -> dict[str, Any]:
        self.tell(**order)
        return self.answer()


@dataclass(frozen=True, slots=True)
class Setting:
    """What the sites of a run have in common. `keep`: leave a site's files there."""

    switches: int
    machine: Machine
    keep: Path | None


@dataclass
class Site:
    """`with Site(…) as site`: everything runs, the daemon decides. Removed at the end, unless its files are kept.

    `charging`: keys of the settings' section; the slices are short, so that a call of some seconds needs an
    extension."""

    people: People
    setting: Setting
    prefixes: int = 2_000
    charging: str = "first_slice_s = 2\nlong_slice_s = 60\nextend_ahead_ms = 700\n"
    generator_arguments: Sequence[str] = ()
    daemons: int = 1
    masters: int = 1
    rewrites: bool = False
    """Of Redis' append-only file; see there."""

    def __enter__(self) -> Site:
        self.folder = self.setting.keep or Path(tempfile.mkdtemp(prefix="rater-bench-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        self.redis = Redis(self.folder / "redis", rewrites=self.rewrites)
        self.cluster = RedisCluster(self.folder / "cluster", self.masters) if self.masters > 1 else None
        self.running: list[subprocess.Popen[bytes]] = []
        self.generator: Generator | None = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def _start(self) -> None:
        self.store.start()
        self.load = Generator(self.folder, self.people, self.setting.switches, self.generator_arguments)
        self.generator = self.load
        switches = list(enumerate(self.load.ports, 1))
        self.led = [self._write_settings(number, switches) for number in range(self.daemons)]
        catalog = write_catalog(self.folder / "catalog", self.people, self.setting.switches, prefixes=self.prefixes)
        self.rater("catalog", "load", str(catalog))
        for settings in self.led:
            self._start_daemon(settings)
        answer = self.load.answer()
        assert answer == {"attended": True}, answer
        self.arrange()

    def arrange(self) -> None:
        """Gives the measured processes, as they are now, their cores and priority."""
        self.setting.machine.arrange(self.pids["daemon"], self.pids["redis"], self.load.process.pid)

    @property
    def store(self) -> Redis | RedisCluster:
        return self.cluster or self.redis

    @property
    def settings(self) -> Path:
        """For commands; any daemon's do."""
        return self.led[0]

    def _start_daemon(self, settings: Path) -> None:
        log_to = settings.with_suffix(".log")
        with log_to.open("ab") as log:
            started = subprocess.Popen(
                [*RATER, "serve", "--config", str(settings)],
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
            )
        self.running.append(started)
        self.load.daemons[log_to] = started

    def _write_settings(self, daemon: int, all_switches: Sequence[tuple[int, int]]) -> Path:
        """Of one daemon: it leads every so-manieth switch, and knows no other."""
        path, secret = self.folder / f"rater{daemon or ''}.toml", self.folder / "ami.secret"
        secret.touch(mode=0o600)
        secret.write_text("a secret of the load")
        switches = "".join(
            f'[[switch]]\nid = "pbx{number}"\nport = {port}\nsecret = {{ file = "{secret}" }}\nmode = "gate"\n'
            for number, port in all_switches[daemon :: self.daemons]
        )
        cluster = "cluster = true\n" if self.cluster is not None else ""
        path.write_text(
            f'[redis]\nurl = "{self.store.url}"\nshards = {self.masters}\n{cluster}\n'
            f"[charging]\n{self.charging}\n[metrics]\nport = {free_port()}\n\n"
            f'[log]\nlevel = "warning"\n\n{switches}'
        )
        return path

    def rater(self, *words: str) -> str:
        """A command of the product, with this site's settings; its output. Raises CalledProcessError."""
        done = subprocess.run(
            [*RATER, *words, "--config", str(self.settings), "--json"], cwd=ROOT, capture_output=True, text=True
        )
        if done.returncode not in (0, 1):
            raise RuntimeError(
                f"rater {' '.join(words)} ended with {done.returncode}: {done.stderr or done.stdout}"
            )
        return done.stdout

    @property
    def pids(self) -> dict[str, list[int]]:
        return {"daemon": [daemon.pid for daemon in self.running], "redis": self.store.pids}

    def phase(self, rate: float, seconds: float, warm_s: float = 3.0) -> dict[str, Any]:
        """Offer so many calls a second for so long; the figures."""
        return self.load.ask(do="phase", rate=rate, seconds=seconds, warm_s=warm_s, pids=self.pids)

    def drain(self, within_s: float = 30.0) -> int:
        """No more calls; how many are still not over after that time."""
        return int(self.load.ask(do="drain", within_s=within_s)["left"])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for daemon in self.running:
            stop(daemon)
        if self.generator is not None:
            stop(self.generator.process)
        self.store.stop()
        if self.setting.keep is None:
            shutil.rmtree(self.folder, ignore_errors=True)
