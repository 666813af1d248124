"""What `rater audit` shows while it works, and where: a bar for a person who waits, nothing in what is kept."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from rater.charging.keys import Keys
from rater.charging.model import Post, PostKind
from rater.charging.redis_store import RedisStore
from rater.charging.terms import Terms
from rater.ids import AccountId, OpId, Shard
from tests.servers import RedisServer, binaries
from tests.tampering import add_to_balance

COUNTS = (1234, 321)
"""Accounts of each shard: several pages, and one."""
RATER = Path(sys.executable).with_name("rater")
PREFIXES = count(1)
COLOURS, CURSOR = re.compile(r"\x1b\[[0-9;]*m"), re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


LONG = AccountId("[b]" + "long" * 20)
"""A name that takes a whole line, and looks like an order to print it otherwise."""


def named(shard: int, number: int) -> AccountId:
    return LONG if (shard, number) == (0, 3) else AccountId(f"A{shard}-{number}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer([*binaries().values()][-1], tmp_path_factory.mktemp("audited")).start()
    yield server
    server.stop()


@pytest.fixture
def prefix() -> str:
    return f"bar{next(PREFIXES)}"


@pytest.fixture
def config(server: RedisServer, prefix: str, tmp_path: Path) -> Path:
    """Of two shards with their accounts."""

    async def post() -> None:
        store = RedisStore(server.url, prefix=prefix, shards=len(COUNTS))
        await store.start()
        posts = [
            Post(OpId(f"o{shard}-{n}"), Shard(shard), named(shard, n), PostKind.OPENING, 5, 1, Terms())
            for shard, accounts in enumerate(COUNTS)
            for n in range(accounts)
        ]
        await asyncio.gather(*map(store.ask, posts))
        await store.close()

    asyncio.run(post())
    path = tmp_path / "rater.toml"
    path.write_text(f'[redis]\nurl = "{server.url}"\nprefix = "{prefix}"\nshards = {len(COUNTS)}\n')
    return path


def on_a_terminal(config: Path, *words: str, stdout: Any = None) -> tuple[int, str]:
    """Run on a pseudo-terminal: the exit code, and what a person saw on it. `stdout`: where that goes instead."""
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "30"}
    process = subprocess.Popen(
        [RATER, "audit", "--config", config, *words],
        stdin=theirs, stdout=theirs if stdout is None else stdout, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # its other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    return process.wait(60), seen.decode()


def lines_of(seen: str) -> list[str]:
    """What was on each line, one after the other, as it was written over."""
    return [line for line in re.split(r"[\r\n]", CURSOR.sub("\r", COLOURS.sub("", seen))) if line.strip()]


def test_a_person_sees_how_far_it_is_in_each_shard(config: Path, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as out:
        code, seen = on_a_terminal(config, stdout=out)
    assert code == 0
    lines = lines_of(seen)
    for shard, accounts in enumerate(COUNTS):
        steps = [tuple(map(int, found)) for line in lines
                 for found in re.findall(rf"accounts of shard {shard} .*?(\d+)/(\d+)", line)]  # fmt: skip
        assert {of for _, of in steps} == {accounts}
        done = [number for number, _ in steps]
        assert done == sorted(done)
        assert done[-1] == accounts, "at its end the bar is full"
    assert (tmp_path / "out").read_text() == f"{sum(COUNTS)} accounts, 0 differences\n"


def test_what_differs_is_listed_whole_below_the_bars(config: Path, prefix: str, server: RedisServer) -> None:
    with server.client() as client:
        add_to_balance(client, Keys(prefix, Shard(1)).account(named(1, 7)), 1)
    code, seen = on_a_terminal(config)
    assert code == 1
    lines = lines_of(seen)
    last_bar = max(at for at, line in enumerate(lines) if "accounts of shard 1" in line)
    assert " ".join(lines[last_bar + 1 :]).split() == (
        "A1-7: the sum of its totals is 0.000005, recorded is 0.000006 "
        "A1-7: the sum of its ledger is 0.000005, recorded is 0.000006 "
        f"{sum(COUNTS)} accounts, 2 differences"
    ).split()  # fmt: skip


def test_in_files_there_is_no_bar(config: Path, prefix: str, server: RedisServer, tmp_path: Path) -> None:
    with server.client() as client:
        add_to_balance(client, Keys(prefix, Shard(0)).account(named(0, 3)), -2)
    out, errors = tmp_path / "out", tmp_path / "errors"
    with out.open("wb") as to, errors.open("wb") as beside:
        code = subprocess.run([RATER, "audit", "--config", config], stdout=to, stderr=beside, timeout=60).returncode
    assert code == 1
    assert errors.read_bytes() == b""
    assert out.read_text().splitlines() == [
        f"{LONG}: the sum of its totals is 0.000005, recorded is 0.000003",
        f"{LONG}: the sum of its ledger is 0.000005, recorded is 0.000003",
        f"{sum(COUNTS)} accounts, 2 differences",
    ]


def test_a_program_sees_no_bar_on_a_terminal_either(config: Path) -> None:
    code, seen = on_a_terminal(config, "--json")
    assert code == 0
    assert json.loads(seen) == {"accounts": sum(COUNTS), "moving": 0, "balanced": True, "faults": []}
