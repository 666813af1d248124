"""A whole site of real processes, each under its own Redis user, and what it wrote and did.

Played once for all tests that look at it: `play` loads a catalogue, places calls that are allowed, denied and cut,
posts, archives, restarts Redis, delivers to a broker, a webhook and a mail server, looks with every command, and
keeps what it saw.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
import redis
from events.support import Mosquitto
from notify.receiver import receiving
from notify.test_mail import serving as mail_serving

from rater.switch.simulator.dialplan import Gating
from rater.switch.simulator.protocol import ManagerUser
from rater.switch.simulator.switch import Extension, Gateway, SimulatedSwitch
from tests.faults.support import COMMAND, until
from tests.metrics.support import get
from tests.servers import DEBIAN, RedisServer, free_port

ROOT = Path(__file__).parents[2]
PREFIX = "tel.1"
USERS = ("admin", "serve", "publish", "operator", "reader", "archive", "doctor")
SECRETS = {
    "ami": "canary-ami-secret-1", "ami_wrong": "canary-ami-secret-2", "mqtt": "canary-mqtt-secret",
    "webhook": "canary-webhook-secret", "token": "canary-metrics-token-0123456789",
}  # fmt: skip
NUMBER, SUBSCRIBER, POOR, BROKE = "33123456789", "33198765432", "33198765433", "33198765434"
ADDRESS, HOLDER = "ana.lima@example.com", "Ana Lima"
CATALOG = {
    "plans.toml": '[plan.retail]\ncurrency = "EUR"\nzone = "Europe/Paris"\ndial_plan = "e164"\n'
    'deck = "decks/retail.csv"\ndecimals = 6\nthresholds = { money_below = ["99999.99"] }\n',
    "accounts.toml": f'[account.RICH]\nname = "{HOLDER}"\nplan = "retail"\nmodality = "prepaid"\n'
    f'opening = "100000"\nspend = {{ hour = "500", day = "900" }}\nreseller = "r1"\n'
    "limits = { both = 9, calls_per_second = 50 }\n"
    f'notify = {{ email = ["{ADDRESS}"] }}\n'
    '[account.POOR]\nplan = "retail"\nmodality = "prepaid"\nopening = "0.02"\n'
    '[account.BROKE]\nplan = "retail"\nmodality = "prepaid"\n[reseller.r1]\nlimits = { both = 20 }\n',
    "trunks.toml": '[trunk.carrier]\npattern = "PJSIP/carrier-*"\n',
    "switches.toml": "[switch.pbx1]\n[switch.pbx2]\n",
    "lines.csv": "line,account,endpoint\n"
    f"{SUBSCRIBER},RICH,{SUBSCRIBER}\n{POOR},POOR,{POOR}\n{BROKE},BROKE,{BROKE}\n",
    "decks/retail.csv": "prefix,destination,class,price,per\n33,France,fixed,0.01,1\n",
}


@dataclass
class GuardedRedis(RedisServer):
    """With the users of deploy/redis-users.acl, and nobody without a name."""

    secrets: Path = field(default_factory=Path)
    is_cluster = False

    def client(self, user: str = "admin") -> redis.Redis:
        secret = (self.secrets / f"rater-{user}").read_text()
        return redis.Redis(port=self.port, username=f"rater-{user}", password=secret)

    def acl_log(self) -> list[dict[str, Any]]:
        with self.client() as client:
            return list(client.acl_log())


def make_users(folder: Path, prefix: str = PREFIX) -> Path:
    """The ACL file that deploy/redis-users makes; the secrets go into `folder`."""
    made = subprocess.run(
        [str(ROOT / "deploy/redis-users"), str(folder), prefix], capture_output=True, text=True, check=True
    )
    path = folder / "users.acl"
    path.write_text(made.stdout)
    return path


def guarded_redis(folder: Path) -> GuardedRedis:
    users = make_users(folder / "users")
    return GuardedRedis(DEBIAN, folder / "redis", options={"aclfile": str(users)}, secrets=folder / "users")


class Server(Protocol):
    """One server or a cluster."""

    secrets: Path
    is_cluster: bool

    @property
    def port(self) -> int: ...
    def client(self, user: str = "admin") -> Any: ...
    def acl_log(self) -> list[dict[str, Any]]: ...
    def start(self) -> object: ...
    def stop(self) -> object: ...


@dataclass
class Seen:
    """What the site left: `logs` by who wrote them, `answers` of the commands, `argv` of every process,
    `exposed`: what the metrics ports said, `refused`: Redis' ACL LOG."""

    logs: dict[str, str] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    argv: list[str] = field(default_factory=list)
    exposed: str = ""
    refused: list[dict[str, Any]] = field(default_factory=list)
    delivered: dict[str, int] = field(default_factory=dict)


class Play:
    def __init__(self, folder: Path, server: Server, switch: SimulatedSwitch) -> None:
        self.folder = folder
        self.server = server
        self.switch = switch
        self.seen = Seen()
        self.ports = {"serve": free_port(), "publish": free_port()}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def environment(self, user: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("RATER_")}
        return kept | {
            "RATER_REDIS__URL": f"redis://rater-{user}@127.0.0.1:{self.server.port}/0",
            "RATER_REDIS__PASSWORD__FILE": str(self.server.secrets / f"rater-{user}"),
            "RATER_REDIS__CLUSTER": str(self.server.is_cluster).lower(),
            "CANARY_MQTT": SECRETS["mqtt"],
        }

    def start(self, name: str, config: Path) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*COMMAND, name, "--config", str(config), *(["--json"] if name == "publish" else [])],
                env=self.environment(name), stdout=log, stderr=log,
            )  # fmt: skip

    async def command(self, user: str, *words: str, expect: tuple[int, ...] = (0,)) -> str:
        ended = await asyncio.to_thread(
            subprocess.run, [*COMMAND, *words, "--config", str(self.folder / "commands.toml")],
            env=self.environment(user), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode in expect, (user, words, ended.stdout[-2000:], ended.stderr[-2000:])
        self.seen.logs[f"{user}: {' '.join(words[:2])}"] = ended.stderr
        self.seen.answers[" ".join(words[:2])] = ended.stdout
        return ended.stdout

    def note_processes(self) -> None:
        for process in self.processes.values():
            top = psutil.Process(process.pid)
            for one in (top, *top.children(recursive=True)):
                self.seen.argv.append(" ".join(one.cmdline()))

    async def metrics(self, which: str) -> str:
        found = await asyncio.to_thread(_scrape, self.ports[which])
        self.seen.exposed += found
        return found

    async def ready(self, which: str) -> None:
        async def holds() -> bool:
            log = (self.folder / f"{which}.log").read_text()
            assert self.processes[which].poll() is None, log[-4000:]
            try:
                return (await asyncio.to_thread(get, self.ports[which], "/readyz"))[0] == 200
            except OSError:
                return False

        await until(holds, within_s=40)

    def end(self) -> None:
        for name, process in self.processes.items():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                process.wait(20)
            self.seen.logs[name] = (self.folder / f"{name}.log").read_text()


def _scrape(port: int) -> str:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {SECRETS['token']}"}
    )
    with urllib.request.urlopen(request, timeout=5) as reply:
        text: str = reply.read().decode()
    return text


def write_site(here: Play, *, targets: str, switch_port: int) -> None:
    """Settings of the daemon, the publisher and the commands; the catalogue; secrets in files."""
    folder = here.folder
    for name, text in CATALOG.items():
        path = folder / "catalog" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for name, text in SECRETS.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o600)
    common = (
        f"[redis]\nprefix = '{PREFIX}'\nshards = 2\n[log]\nlevel = 'debug'\n"
        "[ledger]\narchive = 'archive'\n[charging]\nfirst_slice_s = 2\nlong_slice_s = 2\nextend_ahead_ms = 900\n"
    )
    switches = "".join(
        f"[[switch]]\nid = '{name}'\nport = {switch_port}\nsecret = {{ file = '{secret}' }}\nmode = 'gate'\n"
        for name, secret in (("pbx1", "ami"), ("pbx2", "ami_wrong"))
    )
    token = "token = { file = 'token' }\n"
    (folder / "serve.toml").write_text(f"{common}[metrics]\nport = {here.ports['serve']}\n{token}{switches}")
    (folder / "publish.toml").write_text(
        f"{common}[metrics]\nport = {here.ports['serve']}\n{token}"
        f"[publish]\nmetrics_port = {here.ports['publish']}\nfiles = 'records'\n{targets}"
    )
    (folder / "commands.toml").write_text(f"{common}[metrics]\nport = {here.ports['serve']}\n{token}{switches}")


async def _look(here: Play) -> None:
    """Everything that only looks."""
    span = ("--from", "2020-01-01", "--to", "2099-01-01")
    reader = "reader"
    await here.command(reader, "account", "show", "RICH")
    await here.command(reader, "calls")
    await here.command(reader, "top", "--once")
    await here.command(reader, "audit")
    await here.command(reader, "events", "tail", "--once")
    await here.command(reader, "events", "export", *span, "--out", str(here.folder / "rated.jsonl"))
    await here.command(reader, "events", "dead")
    await here.command(reader, "rerate", *span, "--version", "1", expect=(0, 1))
    await here.command(reader, "ledger", "status")
    await here.command(reader, "ledger", "verify", expect=(0, 1))
    await here.command("doctor", "doctor", "--listen", "1", expect=(0, 1))


async def _work(here: Play) -> None:
    switch = here.switch
    await here.command("operator", "account", "credit", "POOR", "0.02", "--op-id", "c1")
    await here.command("operator", "account", "adjust", "POOR", "-0.01", "--op-id", "c2")
    await here.command("operator", "account", "grant", "RICH", "60s", "--op-id", "c3", "--id", "gift")
    await here.command("operator", "account", "transfer", "RICH", "POOR", "0.01", "--op-id", "c4")
    await here.command("operator", "account", "expire", "RICH", "gift", "--op-id", "c5")
    for shard in ("0", "1", "0"):
        await here.command("operator", "account", "move", "RICH", "--to", shard)
    calls = [switch.place_call(line, f"+{NUMBER}", ring_s=0.1, talk_s=3) for line in (SUBSCRIBER, POOR, BROKE)]
    calls.append(switch.place_call(SUBSCRIBER, "+331x", ring_s=0.1, talk_s=1))
    long = switch.place_call(SUBSCRIBER, f"+{NUMBER}", ring_s=0.1, talk_s=600)
    await asyncio.sleep(1)
    here.note_processes()
    for call in calls:
        await asyncio.wait_for(switch.finished(call), 30)
    await _look(here)
    leg = await _live_leg(here)
    await here.command("operator", "hangup", leg)
    await asyncio.wait_for(switch.finished(long), 30)
    await here.command("operator", "account", "move", "POOR", "--to", await _other_shard(here, "POOR"))
    await here.command("operator", "account", "refund", "RICH", leg, "0.01", "--op-id", "r1")


async def _other_shard(here: Play, account: str) -> str:
    with here.server.client() as client:
        return "0" if client.hget(f"{PREFIX}:shards", account) == b"1" else "1"


async def _live_leg(here: Play) -> str:
    [live] = json.loads(await here.command("reader", "calls", "--json"))["calls"]
    return str(live["leg"])


async def _deliver(here: Play, mqtt: Mosquitto, crm: Any, mail: Any) -> None:
    async def all_there() -> bool:
        here.seen.delivered = {
            "mqtt": len(mqtt.taken("tel/([^']*)")), "webhook": len(crm.ids), "mail": len(mail.messages),
            "files": sum(len(p.read_text().splitlines()) for p in (here.folder / "records").glob("*.jsonl")),
        }  # fmt: skip
        return all(here.seen.delivered.values())

    await until(all_there, within_s=30)


async def play(folder: Path, server: Server) -> Seen:
    switch = SimulatedSwitch(
        users=[ManagerUser("rater", SECRETS["ami"])],
        extensions=[Extension(line) for line in (SUBSCRIBER, POOR, BROKE)],
        gateways=[Gateway("carrier")],
        gating=Gating.OUTBOUND,
    )
    here = Play(folder, server, switch)
    mqtt = Mosquitto(folder)
    async with AsyncExitStack() as stack:
        await switch.start()
        stack.push_async_callback(switch.stop)
        mqtt.start()
        stack.callback(mqtt.stop)
        mail = await stack.enter_async_context(mail_serving())
        crm = await stack.enter_async_context(receiving())
        stack.callback(here.end)
        targets = (
            f"[mqtt]\nhost = '127.0.0.1'\nport = {mqtt.port}\nprefix = 'tel'\nuser = 'rater'\n"
            "password = { env = 'CANARY_MQTT' }\n"
            f"[smtp]\nhost = '127.0.0.1'\nport = {mail.port}\nsecurity = 'none'\n"
            "from = 'x@example.com'\ngather_s = 0.2\n"
            f"[[webhook]]\nname = 'crm'\nurl = '{crm.url}'\nsecret = {{ file = 'webhook' }}\n"
            f"[[webhook]]\nname = 'away'\nurl = 'http://127.0.0.1:{free_port()}/'\n"
            "secret = { file = 'webhook' }\n"
        )
        write_site(here, targets=targets, switch_port=switch.port)
        await here.command("operator", "catalog", "load", str(folder / "catalog"))
        here.start("serve", folder / "serve.toml")
        here.start("publish", folder / "publish.toml")
        await until(lambda: _up(here), within_s=40)
        await _work(here)
        await _deliver(here, mqtt, crm, mail)
        await here.command("archive", "ledger", "archive", "--before", time.strftime("%Y-%m"))
        here.seen.refused = refusals(server)
        before = books(server)
        server.stop()
        await asyncio.sleep(0.5)
        server.start()
        assert books(server) == before, "the append-only file was not loaded whole"
        await until(lambda: _up(here), within_s=40)
        call = switch.place_call(SUBSCRIBER, f"+{NUMBER}", ring_s=0.1, talk_s=1)
        await asyncio.wait_for(switch.finished(call), 30)
        await asyncio.sleep(1)
        await here.metrics("serve")
        await here.metrics("publish")
        here.note_processes()
        here.seen.refused += refusals(server)
    return here.seen


async def _up(here: Play) -> bool:
    """The first switch is led and logged in; the second's secret is wrong, for ever."""
    log = (here.folder / "serve.log").read_text()
    assert here.processes["serve"].poll() is None, log[-4000:]
    try:
        text = await here.metrics("serve")
    except OSError:
        return False
    return 'rater_ami_up{switch="pbx1"} 1.0' in text and "rater_store_up 1.0" in text


def _whole(client: Any, key: bytes) -> Any:
    match client.type(key):
        case b"stream":
            return client.xrange(key)
        case b"hash":
            return client.hgetall(key)
        case b"set":
            return client.smembers(key)
    return None


def books(server: Server) -> dict[bytes, Any]:
    """All that is not made anew by time alone: balances, legs, ledger, catalogue."""
    kept = (b":account:", b":ledger", b":outbox", b":catalog:", b"shards", b"opened", b":op:")
    with server.client() as client:
        return {
            key: client.dump(key) if client.type(key) == b"string" else _whole(client, key)
            for key in client.scan_iter(count=1000)
            if any(part in key for part in kept)
        }


def refusals(server: Server) -> list[dict[str, Any]]:
    return [{k: entry[k] for k in ("username", "reason", "object", "client-info")} for entry in server.acl_log()]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[GuardedRedis]:
    server = guarded_redis(folder)
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        server.stop()
