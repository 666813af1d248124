"""JSON lines on disk: whole lines only, a file a day, nothing acknowledged that is not there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from events.support import Desk, copies, leg_facts, until
from events.test_schema import SAMPLES

from rater.charging.embedded import EmbeddedRedis
from rater.clock import ManualClock
from rater.config import Settings
from rater.errors import ConfigError
from rater.events.backlog import outbox_backlog
from rater.events.rated import RatedEvent
from rater.events.stream import Entry
from rater.notify.senders import FileSender, Item, SinkDown

from .support import Publisher, settings_for

Start = Callable[[Settings], Publisher]
OpenDesk = Callable[[], AbstractAsyncContextManager[Desk]]
RECORD = SAMPLES["rated-1"]
DAY_MS = 86_400_000
assert isinstance(RECORD, RatedEvent)
ITEM = Item(Entry(0, "1-0", "rated", {}, {}), RECORD)
LINE = f"{RECORD.to_json()}\n".encode()


def deliver(sender: FileSender, count: int = 1) -> None:
    asyncio.run(sender.deliver([ITEM] * count))


def test_each_day_has_its_own_file(tmp_path: Path) -> None:
    clock = ManualClock(int(datetime(2026, 1, 31, 23, 59, tzinfo=UTC).timestamp() * 1000))
    sender = FileSender(tmp_path / "new" / "folder", clock)
    sender.open()
    deliver(sender)
    clock.advance(DAY_MS // 2)
    deliver(sender, 2)
    files = {path.name: path.read_bytes() for path in sender.folder.iterdir()}
    assert files == {"rater-2026-01-31.jsonl": LINE, "rater-2026-02-01.jsonl": LINE * 2}


@pytest.mark.parametrize("torn", [b'{"schema": "rater.rated/1", "id": "x', b"x" * 200_000])
def test_a_line_torn_by_a_crash_is_removed(tmp_path: Path, torn: bytes) -> None:
    clock = ManualClock()
    path = tmp_path / f"rater-{datetime.fromtimestamp(clock.wall_ms() / 1000, UTC):%Y-%m-%d}.jsonl"
    path.write_bytes(LINE + torn)
    deliver(FileSender(tmp_path, clock))
    assert path.read_bytes() == LINE * 2
    path.write_bytes(torn)
    deliver(FileSender(tmp_path, clock))
    assert path.read_bytes() == LINE


def test_a_file_rotated_away_is_begun_anew(tmp_path: Path) -> None:
    sender = FileSender(tmp_path, ManualClock())
    deliver(sender)
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / "kept")
    deliver(sender)
    assert path.read_bytes() == LINE == (tmp_path / "kept").read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_43_a_full_disk_is_no_delivery(tmp_path: Path) -> None:
    clock = ManualClock()
    sender = FileSender(tmp_path, clock)
    name = f"rater-{datetime.fromtimestamp(clock.wall_ms() / 1000, UTC):%Y-%m-%d}.jsonl"
    (tmp_path / name).symlink_to("/dev/full")
    with pytest.raises(SinkDown, match="cannot write"):
        deliver(sender)
    (tmp_path / name).unlink()
    deliver(sender)
    assert (tmp_path / name).read_bytes() == LINE


def test_a_folder_that_cannot_be_made_is_an_unusable_setting(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot make the folder"):
        FileSender(tmp_path / "file" / "sub", ManualClock()).open()


def test_the_publisher_writes_files_while_the_broker_is_away(
    server: EmbeddedRedis, publisher: Start, open_desk: OpenDesk, prefix: str, tmp_path: Path
) -> None:
    """One target away holds up no other; killed, nothing is missing and no line is torn."""
    from events.support import Mosquitto

    folder, ids = tmp_path / "records", [f"leg-{n:04}" for n in range(2000)]
    (tmp_path / "broker").mkdir()
    absent = Mosquitto(tmp_path / "broker")

    async def run() -> None:
        async with open_desk() as desk:
            await desk.credit(10**9)
            await desk.call(10, leg_facts(ids[0]))
            await copies(desk.store.redis, prefix, ids[1:])
            settings = settings_for(server.url, prefix, broker=absent, files=folder)
            process = publisher(settings)
            await until(lambda: any(folder.glob("*.jsonl")) if folder.exists() else False)
            process.kill()
            publisher(settings)

            async def waiting(group: str) -> int:
                log = await outbox_backlog(desk.store.redis, prefix=prefix, shard=0, group=group)
                return log.entries

            async def written() -> bool:
                return await waiting("files") == 0

            await until(written)
            assert await waiting("mqtt") == len(ids)

    asyncio.run(run())
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    assert list(dict.fromkeys(json.loads(line)["id"] for line in lines)) == ids
    assert next(folder.glob("*.jsonl")).stat().st_mode & 0o007 == 0
