"""TLS to everything outside: the right authority and the right name, or no connection."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import aiomqtt
import pytest
import trustme
from events.support import Mosquitto

from rater.charging.redis_client import open_client
from rater.charging.redis_store import RedisStore
from rater.config import MqttSettings, RedisSettings
from rater.errors import StoreUnavailable
from rater.notify.mqtt import make_client
from rater.switch.ami import ConnectionState
from tests.servers import DEBIAN, RedisServer, free_port, needs_debians_redis
from tests.switch.peer import Client, Peer, until


class Certificates:
    """In `folder`: ca.pem and other.pem, authorities; good.* for 127.0.0.1 and wrong.* for another name, both of
    the first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        authority, stranger = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        stranger.cert_pem.write_to_path(str(folder / "other.pem"))
        for name, host in (("good", "127.0.0.1"), ("wrong", "elsewhere.example")):
            issued = authority.issue_cert(host)
            issued.private_key_pem.write_to_path(str(folder / f"{name}.key"))
            issued.cert_chain_pems[0].write_to_path(str(folder / f"{name}.pem"))

    def context(self, name: str) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return context


CASES = pytest.mark.parametrize(
    ("served", "trusted", "good"),
    [("good", "ca.pem", True), ("good", "other.pem", False), ("good", None, False), ("wrong", "ca.pem", False)],
    ids=["right", "wrong authority", "the system's authorities", "wrong name"],
)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("tls"))


@CASES
def test_to_the_switch(certificates: Certificates, served: str, trusted: str | None, good: bool) -> None:
    async def body() -> None:
        peer = Peer()
        ca = certificates.folder / trusted if trusted else None
        async with (
            peer.serving(certificates.context(served)),
            Client(peer, tls=True, tls_ca=ca).running() as client,
        ):
            wanted = ConnectionState.UP if good else ConnectionState.LOST
            await until(lambda: client.states.count(wanted) >= (1 if good else 2))
            assert (ConnectionState.UP in client.states) is good
            assert peer.logins == int(good)
            assert good or not peer.actions, "nothing is said to a stranger"

    asyncio.run(body())


@pytest.fixture
def redis_with(tmp_path: Path, certificates: Certificates) -> Iterator[Callable[[str], int]]:
    servers: list[RedisServer] = []

    def start(served: str) -> int:
        port, folder = free_port(), certificates.folder
        options = {
            "tls-port": str(port), "tls-cert-file": str(folder / f"{served}.pem"),
            "tls-key-file": str(folder / f"{served}.key"), "tls-ca-cert-file": str(folder / "ca.pem"),
            "tls-auth-clients": "no",
        }  # fmt: skip
        servers.append(RedisServer(DEBIAN, tmp_path / "redis", options=options).start())
        return port

    yield start
    for server in servers:
        server.stop()


@needs_debians_redis
@CASES
def test_to_redis(
    redis_with: Callable[[str], int], certificates: Certificates, served: str, trusted: str | None, good: bool
) -> None:
    """Both clients: redis-py's, and the pipelined connection that charges."""
    query = f"?ssl_ca_certs={certificates.folder / trusted}" if trusted else ""
    url = f"rediss://127.0.0.1:{redis_with(served)}/0{query}"
    RedisSettings(url=url)

    async def plain() -> bool:
        client = open_client(url, None)
        try:
            return bool(await client.ping())
        finally:
            await client.aclose()

    async def pipelined() -> bool:
        store = RedisStore(url)
        store._link.start()
        try:
            for _ in range(100):
                if store.available:
                    return True
                await asyncio.sleep(0.01)
            return False
        finally:
            await store.close()

    async def charging() -> None:
        store = RedisStore(url)
        await store.start()
        await store.close()

    assert asyncio.run(pipelined()) is good
    if good:
        assert asyncio.run(plain())
        asyncio.run(charging())
    else:
        with pytest.raises(Exception, match=r"(?i)certificate|ssl"):
            asyncio.run(plain())
        with pytest.raises(StoreUnavailable):
            asyncio.run(charging())


class TlsMosquitto(Mosquitto):
    def __init__(self, folder: Path, certificates: Certificates, served: str) -> None:
        super().__init__(folder)
        with (folder / "mosquitto.conf").open("a") as file:
            keys = certificates.folder
            file.write(f"certfile {keys / served}.pem\nkeyfile {keys / served}.key\n")


@CASES
def test_to_the_broker(
    tmp_path: Path, certificates: Certificates, served: str, trusted: str | None, good: bool
) -> None:
    broker = TlsMosquitto(tmp_path, certificates, served)
    broker.start()
    settings = MqttSettings(
        host="127.0.0.1", port=broker.port, tls=True, tls_ca=certificates.folder / trusted if trusted else None
    )

    async def connect() -> None:
        async with make_client(settings, ""):
            pass

    try:
        if good:
            asyncio.run(connect())
        else:
            with pytest.raises(aiomqtt.MqttError, match=r"(?i)certificate"):
                asyncio.run(connect())
    finally:
        broker.stop()
