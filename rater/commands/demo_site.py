"""What the demo is made of: folders, settings, and a simulated switch with the catalogue's lines and trunks."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rater
from rater.catalog.model import Line, Modality, Trunk
from rater.catalog.snapshot import Snapshot
from rater.config import (
    ChargingSettings,
    LogSettings,
    MetricsSettings,
    RedisSettings,
    Secret,
    Settings,
    SwitchSettings,
    load_settings,
)
from rater.errors import InputError
from rater.rating.compiled import CompiledDeck, unpack
from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.numbers import NumberBook, Prefixes
from rater.switch.simulator.protocol import ManagerUser
from rater.switch.simulator.switch import Extension, Gateway, SimulatedSwitch

AMI_USER = "rater"
EVERYDAY = ("fixed", "mobile")
"""How the classes begin that are called every day; the others are abroad, premium and the like."""
MOST_PREFIXES = 20_000
"""Of a large deck, so many prefixes, evenly spread, are enough to call."""


@dataclass(frozen=True, slots=True)
class Site:
    """`folder` holds everything the demo leaves behind: Redis' data, settings, the secret, the log."""

    folder: Path
    switch_id: str
    secret: str

    @property
    def redis_dir(self) -> Path:
        return self.folder / "redis"

    @property
    def settings_file(self) -> Path:
        return self.folder / "rater.toml"

    @property
    def log_file(self) -> Path:
        return self.folder / "demo.log"

    @property
    def secret_file(self) -> Path:
        return self.folder / "ami.secret"

    def settings(self, ami_port: int) -> Settings:
        """Settings of the daemon. The environment has no say in them, except for MQTT: a broker named there
        (RATER_MQTT__HOST) is used."""
        return Settings.model_construct(
            redis=RedisSettings(url=f"unix://{self.redis_dir / 'redis.sock'}", data_dir=self.redis_dir),
            switch=[
                SwitchSettings(
                    id=self.switch_id, port=ami_port, user=AMI_USER, secret=Secret(file=self.secret_file)
                )
            ],
            charging=ChargingSettings(first_slice_s=8, long_slice_s=12, extend_ahead_ms=2000),
            mqtt=load_settings(None).mqtt,
            metrics=MetricsSettings(port=0),
            log=LogSettings(),
        )

    def write_secret(self) -> None:
        """Where the daemon reads it: a file that nobody else can."""
        self.secret_file.unlink(missing_ok=True)
        self.secret_file.touch(mode=0o600)
        self.secret_file.write_text(self.secret, encoding="ascii")

    def write_settings(self, ami_port: int) -> None:
        """A settings file, so that other commands reach the running demo: ``--config FOLDER/rater.toml``."""
        self.settings_file.write_text(
            "# Written by rater demo; good while it runs.\n"
            f"[redis]\ndata_dir = {json.dumps(str(self.redis_dir))}\n\n"
            f'[[switch]]\nid = "{self.switch_id}"\nport = {ami_port}\nuser = "{AMI_USER}"\n'
            f"secret = {{ file = {json.dumps(str(self.secret_file))} }}\n\n"
            "[metrics]\nport = 0\n",
            encoding="utf-8",
        )


def make_site(folder: Path, snapshot: Snapshot) -> Site:
    """Raises InputError when the folder cannot be used."""
    switch_id = next(iter(snapshot.switches), None) or next(
        (trunk.switch for trunk in snapshot.trunks.values() if trunk.switch), "pbx1"
    )
    site = Site(folder.resolve(), str(switch_id), secrets.token_hex(16))
    try:
        site.folder.mkdir(parents=True, exist_ok=True)
        site.log_file.touch()
    except OSError as error:
        raise InputError(
            f"cannot use the folder {folder}: {error.strerror}", hint="Name another: --data-dir."
        ) from error
    return site


def default_catalog() -> Path:
    """The catalogue that comes with the source. Raises InputError when it is not there (an installed wheel)."""
    folder = Path(rater.__file__).resolve().parents[1] / "config" / "catalog"
    if not folder.is_dir():
        raise InputError(f"there is no catalogue in {folder}", hint="Name one: rater demo --catalog DIR.")
    return folder


def demo_lines(snapshot: Snapshot, count: int | None) -> list[Line]:
    """The lines that make calls: active ones, `count` of them at most, accounts taken in turn.

    Raises InputError when there is none, or no trunk to call over.
    """
    if not snapshot.trunks:
        raise InputError("the catalogue has no trunk to call over", hint="Add one to trunks.toml.")
    waiting: dict[str, list[Line]] = {}
    for line in snapshot.lines.values():
        if line.active and snapshot.accounts[line.account].active:
            waiting.setdefault(line.account, []).append(line)
    chosen: list[Line] = []
    while waiting and (count is None or len(chosen) < count):
        for account in list(waiting):
            chosen.append(waiting[account].pop(0))
            if not waiting[account]:
                del waiting[account]
    if not chosen:
        raise InputError("the catalogue has no active line to call from", hint="Add some to lines.csv.")
    return chosen[:count]


def make_switch(site: Site, snapshot: Snapshot, lines: Sequence[Line], seed: int) -> SimulatedSwitch:
    """A switch with these lines and the catalogue's trunks. Raises InputError for a trunk it cannot play."""
    trunks = [trunk for trunk in snapshot.trunks.values() if trunk.switch in (None, site.switch_id)]
    read, write = frozenset({"call", "agi", "system"}), frozenset({"call", "agi", "reporting"})
    return SimulatedSwitch(
        users=[ManagerUser(AMI_USER, site.secret, read, write)],
        extensions=[Extension(line.endpoint, line.account_code) for line in lines],
        gateways=[gateway_of(trunk) for trunk in trunks],
        gating=Gating.OUTBOUND,
        system_name=site.switch_id,
        seed=seed,
    )


def gateway_of(trunk: Trunk) -> Gateway:
    """The simulated trunk whose channels match. Raises InputError for a pattern beyond ``TECH/NAME-*``."""
    technology, slash, rest = trunk.pattern.partition("/")
    name = rest.removesuffix("-*")
    if not slash or name == rest or any(sign in name for sign in "*?[]"):
        raise InputError(
            f"the demo cannot play a trunk whose channels are named {trunk.pattern}",
            hint="It plays patterns such as PJSIP/carrier-*.",
        )
    return Gateway(name, technology)


def number_book(snapshot: Snapshot, at_ms: int) -> NumberBook:
    """Numbers from each plan's own deck."""
    by_deck = [_prefixes_of(deck) for deck in snapshot.decks]
    prefixes = {plan: by_deck[place] for plan, place in snapshot.content.plan_decks.items()}
    return NumberBook(snapshot, prefixes, at_ms=at_ms)


def _prefixes_of(deck: CompiledDeck) -> Prefixes:
    near: list[str] = []
    far: list[str] = []
    for group in range(0, len(deck.keys), max(1, len(deck.keys) // MOST_PREFIXES)):
        terms = deck.terms[int(deck.row_terms[int(deck.group_start[group])])]
        everyday = deck.classes[int(terms["class_"])].startswith(EVERYDAY)
        (near if everyday else far).append(unpack(int(deck.keys[group])))
    return Prefixes(near, far)


def favourites(snapshot: Snapshot, lines: Sequence[Line]) -> list[str]:
    """Lines that call more than others: those of prepaid accounts, so that some run dry."""
    return [line.endpoint for line in lines if snapshot.accounts[line.account].modality is Modality.PREPAID]
