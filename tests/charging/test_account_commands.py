"""`rater account …` and `rater audit` as a user runs them, on a real Redis."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rater.charging.model import Extend, Reserve, Settle
from rater.charging.moves import Move
from rater.charging.redis_store import RedisStore
from rater.charging.terms import SlicePolicy, Terms
from rater.cli import app
from rater.ids import AccountId, LegId, OpId, Shard, SwitchId
from rater.money import Quote, Segment
from tests.catalog.support import FILES, write
from tests.servers import RedisServer

PREFIXES = count(1)
CENT = 10_000
Run = Callable[..., Any]


@pytest.fixture
def prefix() -> str:
    return f"c{next(PREFIXES)}"


@pytest.fixture
def config(server: RedisServer, prefix: str, tmp_path: Path) -> Path:
    """Settings with two shards, and the small catalogue published."""
    path = tmp_path / "rater.toml"
    path.write_text(f'[redis]\nurl = "{server.url}"\nprefix = "{prefix}"\nshards = 2\n')
    write(tmp_path / "catalog", FILES)
    loaded = CliRunner().invoke(app, ["catalog", "load", str(tmp_path / "catalog"), "-c", str(path)])
    assert loaded.exit_code == 0, loaded.output
    return path


@pytest.fixture
def run(config: Path) -> Run:
    """A command of the group `account`; its JSON, or with `fails` its exit code and what it says."""

    def invoke(*words: str, fails: int = 0) -> Any:
        names = 2 if words[0] in ("account", "catalog") else 1
        result = CliRunner().invoke(app, [*words[:names], "-c", str(config), "--json", *words[names:]])
        if fails or result.exception:
            error = result.exception
            code = getattr(error, "exit_code", result.exit_code)
            assert code == fails, (result.output, error)
            return f"{result.output}{error}"
        answer: Any = json.loads(result.stdout.splitlines()[-1])
        return answer

    return invoke


def shard_of(config: Path, account: str) -> Shard:
    """Where the catalogue's publication placed it."""
    store = _store(config)

    async def read() -> int:
        try:
            return int(await store.redis.hget(f"{store.prefix}:shards", account))
        finally:
            await store.redis.aclose()

    return Shard(asyncio.run(read()))


def _store(config: Path) -> RedisStore:
    lines = dict(line.split(" = ") for line in config.read_text().splitlines() if " = " in line)
    return RedisStore(lines["url"].strip('"'), prefix=lines["prefix"].strip('"'), shards=2)


def call(config: Path, account: str, leg: str, seconds: int | None) -> None:
    """A call of a cent a second; with `seconds` None it goes on."""
    quote, shard = Quote((Segment(0, 1, CENT, 1),), "EUR", "fixed"), shard_of(config, account)
    head = (shard, AccountId(account), LegId(leg), SwitchId("pbx1"), 1, time.time_ns() // 1_000_000)

    async def talk() -> None:
        store = _store(config)
        await store.start()
        try:
            reserve = Reserve(OpId(f"{leg}:1"), *head, quote, Terms(), (), SlicePolicy(), False, b"\x80")
            await store.ask(reserve)
            if seconds is not None:
                await store.ask(Extend(OpId(f"{leg}:2"), *head, 20, Terms(), SlicePolicy()))
                await store.ask(Settle(OpId(f"{leg}:3"), *head, seconds, Terms(), True, b"\x80"))
        finally:
            await store.close()

    asyncio.run(talk())


def test_adjust_moves_up_and_down_once(run: Run) -> None:
    assert run("account", "adjust", "ann", "2.00", "--op-id", "a")["balance"] == "14.50"
    down = run("account", "adjust", "ann", "--op-id", "b", "--", "-0.50")
    assert (down["balance"], down["moved"], down["repeated"]) == ("14.00", "-0.50", False)
    assert run("account", "adjust", "ann", "--op-id", "b", "--", "-0.50")["repeated"]
    assert "used before" in run("account", "adjust", "ann", "0.50", "--op-id", "b", fails=2)
    assert "insufficient_credit" in run("account", "adjust", "ann", "--op-id", "c", "--", "-99", fails=1)


def test_transfer_moves_between_any_two_accounts(run: Run, config: Path) -> None:
    others = {shard_of(config, name): name for name in ("bob", "cid", "dora")}
    assert len({shard_of(config, name) for name in ("ann", *others.values())}) == 2, "both shards are met"
    balance = 12.5
    for number, other in enumerate(others.values()):
        answer = run("account", "transfer", "ann", other, "1.25", "--op-id", f"t{number}", "--note", "family")
        balance -= 1.25
        assert float(answer["balance"]) == balance
        assert run("account", "show", other)["balance"] == "1.25"
        assert run("account", "transfer", "ann", other, "1.25", "--op-id", f"t{number}", "--note", "family")[
            "repeated"
        ]
    assert "another account" in run("account", "transfer", "ann", "ann", "1", "--op-id", "x", fails=2)
    assert "no account 'nobody'" in run("account", "transfer", "ann", "nobody", "1", "--op-id", "x", fails=2)
    assert run("audit")["balanced"]


def test_refund_gives_back_what_a_call_was_charged_and_no_more(run: Run, config: Path) -> None:
    call(config, "ann", "pbx1.b.7", 40)
    assert run("account", "show", "ann")["balance"] == "12.10"
    assert run("account", "refund", "ann", "pbx1.b.7", "0.30", "--op-id", "r1")["balance"] == "12.40"
    assert "refund_too_large" in run("account", "refund", "ann", "pbx1.b.7", "0.11", "--op-id", "r2", fails=1)
    assert run("account", "refund", "ann", "pbx1.b.7", "0.10", "--op-id", "r3")["balance"] == "12.50"
    assert "no charge to ann" in run("account", "refund", "ann", "pbx1.b.8", "0.10", "--op-id", "r4", fails=2)
    assert run("audit")["balanced"]


def test_grants_are_given_shown_and_ended(run: Run) -> None:
    given = run(
        "account", "grant", "ann", "10m", "--op-id", "g1", "--id", "welcome", "--source", "voucher",
        "--until", "2199-01-01", "--class", "mobile", "--cadence", "3/30/6",
    )  # fmt: skip
    assert (given["moved"], given["repeated"]) == ("600 s", False)
    assert run("account", "grant", "ann", "3.00", "--op-id", "g2", "--until", "2199-01-01T12:00")["moved"] == "3.00"
    shown = run("account", "show", "ann")
    welcome = next(grant for grant in shown["allowances"] if grant["grant"] == "welcome")
    assert (welcome["remaining_s"], welcome["source"], welcome["valid_until"]) == (
        600, "voucher", "2198-12-31T23:00:00.000Z",
    )  # fmt: skip
    assert [(grant["grant"], grant["remaining"]) for grant in shown["money_grants"]] == [("g2", "3.00")]
    assert run("account", "expire", "ann", "welcome", "--op-id", "e1")["moved"] == "600 s"
    assert run("account", "expire", "ann", "g2", "--op-id", "e2")["moved"] == "3.00"
    assert run("account", "show", "ann")["money_grants"] == []
    assert "no valid grant 'welcome'" in run("account", "expire", "ann", "welcome", "--op-id", "e3", fails=2)
    assert run("audit")["balanced"]


def test_show_tells_thresholds_the_accounts_own_and_its_plans(run: Run, config: Path, tmp_path: Path) -> None:
    own = 'thresholds = { money_below = ["2.00"], recurring = false }'
    accounts = str(FILES["accounts.toml"]).replace("[account.ann]\n", f"[account.ann]\n{own}\n")
    run("catalog", "load", str(write(tmp_path / "own", {**FILES, "accounts.toml": accounts})))
    told = [(each["told_when"], each["recurring"]) for each in run("account", "show", "ann")["thresholds"]]
    assert told == [
        ("balance below 2.00", False), ("balance below 5.00", True), ("80 % of basic/minutes used", True),
    ]  # fmt: skip
    text = CliRunner().invoke(app, ["account", "show", "ann", "-c", str(config)]).output
    assert "thresholds  balance below 2.00, once in a cycle\n" in text


def banded(windows: str, name: str = "night") -> dict[str, str]:
    """The small catalogue, whose plan basic has one more band."""
    band = f'[[plan.basic.band]]\nname = "{name}"\nwindows = [{windows}]\n\n[[plan.basic.allowance]]'
    return {**FILES, "plans.toml": str(FILES["plans.toml"]).replace("[[plan.basic.allowance]]", band)}


def test_a_grant_may_have_hours_of_the_accounts_plan(run: Run, tmp_path: Path) -> None:
    said = run("account", "grant", "ann", "10m", "--op-id", "g1", "--hours", "night", fails=2)
    assert "the plan basic has no band 'night'" in said
    run("catalog", "load", str(write(tmp_path / "always", banded("{}"))))
    run("account", "grant", "ann", "10m", "--op-id", "g1", "--hours", "night", "--hours", "peak")
    run("account", "grant", "ann", "3.00", "--op-id", "g2", "--hours", "night")
    run("account", "grant", "ann", "3.00", "--op-id", "g3")
    shown = run("account", "show", "ann")
    gift = next(grant for grant in shown["allowances"] if grant["grant"] == "g1")
    assert (gift["hours"], gift["open"]) == (["night", "peak"], True), "night takes what peak leaves"
    assert [grant["hours"] for grant in shown["money_grants"]] == [["night"], []]
    assert "used before" in run("account", "grant", "ann", "10m", "--op-id", "g1", "--hours", "night", fails=2)


def test_hours_that_a_catalogue_no_longer_has_are_told_and_closed(run: Run, tmp_path: Path) -> None:
    run("catalog", "load", str(write(tmp_path / "always", banded("{}"))))
    run("account", "grant", "ann", "10m", "--op-id", "g1", "--hours", "night")
    loaded = run("catalog", "load", str(write(tmp_path / "gone", banded("{}", "late"))))
    [note] = loaded["notes"]
    assert note.startswith("the plan basic has no band 'night' (any more)")
    gift = next(grant for grant in run("account", "show", "ann")["allowances"] if grant["grant"] == "g1")
    assert (gift["hours"], gift["unknown_hours"], gift["open"]) == (["night"], ["night"], False)
    assert run("catalog", "load", str(tmp_path / "gone"))["notes"] == []


def test_show_says_in_words_what_is_closed(run: Run, config: Path, tmp_path: Path) -> None:
    hours = dict(banded("{}"))
    hours["plans.toml"] = hours["plans.toml"].replace("day = 15\n", 'day = 15\nhours = ["night"]\n', 1)
    run("catalog", "load", str(write(tmp_path / "hours", hours)))
    run("account", "grant", "cid", "3.00", "--op-id", "g2", "--from", "2198-01-01")
    [minutes] = run("account", "show", "cid")["allowances"]
    assert minutes["hours"] == ["night"]
    text = CliRunner().invoke(app, ["account", "show", "cid", "-c", str(config)]).output
    lines = " ".join(text.split()).split("money_grants")
    assert "hours night" in lines[0]
    assert lines[1].endswith("closed now")
    assert "hours" not in lines[1]


def test_a_band_that_never_comes_is_no_hours(run: Run, tmp_path: Path) -> None:
    plans = str(FILES["plans.toml"]).replace(
        "[[plan.basic.allowance]]",
        '[[plan.basic.band]]\nname = "all"\nwindows = [{}]\n\n[[plan.basic.band]]\nname = "late"\n'
        'windows = [{ from = "23:00" }]\n\n[[plan.basic.allowance]]',
    )
    run("catalog", "load", str(write(tmp_path / "late", {**FILES, "plans.toml": plans})))
    assert "never in force" in run("account", "grant", "ann", "1m", "--op-id", "g", "--hours", "late", fails=2)


def test_show_has_the_allowances_of_now_though_nobody_called(run: Run) -> None:
    [minutes] = run("account", "show", "cid")["allowances"]
    assert (minutes["grant"], minutes["remaining_s"], minutes["source"]) == ("basic/minutes", 3600, "allowance")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["10x"], "not an amount"),
        (["m"], "no length"),
        (["5m", "--class", "nowhere"], "no class"),
        (["5m", "--from", "soon"], "no moment"),
        (["5m", "--cadence", "3/30"], "no cadence"),
        (["5m", "--cadence", "0/0/1"], "no cadence"),
        (["5m", "--until", "2001-01-01"], "end before it begins"),
        (["5m", "--id", "a/b"], "cannot name a grant"),
        (["5m", "--priority", "5000"], "priority"),
    ],
)
def test_a_grant_that_cannot_be_is_explained(run: Run, words: list[str], said: str) -> None:
    assert said in run("account", "grant", "ann", *words, "--op-id", "g", fails=2)


def test_the_audit_finds_what_does_not_agree(run: Run, config: Path, prefix: str, server: RedisServer) -> None:
    run("account", "grant", "ann", "10m", "--op-id", "g1")
    run("account", "grant", "ann", "3.00", "--op-id", "g2")
    call(config, "ann", "pbx1.b.9", None)
    assert run("audit") == {"accounts": 4, "moving": 0, "balanced": True, "faults": []}
    shard = shard_of(config, "ann")
    with server.client() as client:
        client.delete(f"{prefix}:{{{shard}}}:leg:pbx1.b.9")
        first = client.xrange(f"{prefix}:{{{shard}}}:ledger")
        gift = next(name for name, fields in first if b"g2" in fields[b"e"])
        client.xdel(f"{prefix}:{{{shard}}}:ledger", gift)
    result = CliRunner().invoke(app, ["audit", "-c", str(config), "--json"])
    assert result.exit_code == 1
    faults = json.loads(result.stdout.splitlines()[-1])["faults"]
    assert faults == [
        "ann: the ledger's sum for g2 is 0.00, recorded is 3.00",
        "ann: what live legs hold of g1 is 0 s, recorded is 30 s",
    ]


def test_a_moved_account_is_served_by_every_command(run: Run, config: Path) -> None:
    call(config, "ann", "pbx1.b.7", 40)
    here = shard_of(config, "ann")
    there = 1 - here
    assert run("account", "move", "ann", "--to", str(there)) == {
        "account": "ann", "from": here, "shard": there, "moved": True,
    }  # fmt: skip
    assert run("account", "move", "ann", "--to", str(there))["moved"] is False
    assert shard_of(config, "ann") == there
    assert run("account", "show", "ann")["balance"] == "12.10"
    assert run("account", "refund", "ann", "pbx1.b.7", "0.30", "--op-id", "r1")["balance"] == "12.40"
    assert "refund_too_large" in run("account", "refund", "ann", "pbx1.b.7", "0.11", "--op-id", "r2", fails=1)
    assert run("account", "transfer", "ann", "bob", "1.00", "--op-id", "t1")["balance"] == "11.40"
    run("account", "move", "ann", "--to", str(here))
    assert run("account", "credit", "ann", "1.00", "--op-id", "c1")["balance"] == "12.40"
    assert run("account", "refund", "ann", "pbx1.b.7", "0.30", "--op-id", "r1")["repeated"]
    assert run("audit") == {"accounts": 4, "moving": 0, "balanced": True, "faults": []}


def test_the_audit_holds_while_an_account_is_on_its_way(run: Run, config: Path) -> None:
    here = shard_of(config, "ann")
    store = _store(config)

    async def leave() -> None:
        begun = await store.begin_move(here, AccountId("ann"), Shard(1 - here))
        assert isinstance(begun, Move)
        await store.take_out(begun)
        state = await store.under_way(begun)
        assert state is not None
        assert state.balance_micro == 1250 * CENT
        await store.redis.aclose()

    asyncio.run(leave())
    assert run("audit") == {"accounts": 3, "moving": 1, "balanced": True, "faults": []}
    assert run("account", "show", "ann")["balance"] == "12.50"
    assert run("account", "credit", "ann", "1.00", "--op-id", "c1")["balance"] == "13.50"
    assert run("audit") == {"accounts": 4, "moving": 0, "balanced": True, "faults": []}


def test_an_account_that_a_fail_over_lost_is_named_and_brought_back(run: Run, config: Path) -> None:
    here = shard_of(config, "ann")
    run("account", "move", "ann", "--to", str(1 - here))
    assert "no move of ann was lost" in run("account", "restore", "ann", fails=2)
    store = _store(config)

    async def lose_its_shard() -> None:
        async for name in store.redis.scan_iter(match=store.keys(Shard(1 - here)).tag + "*"):
            await store.redis.delete(name)
        await store.redis.aclose()

    asyncio.run(lose_its_shard())
    assert f"ann: lost by shard {1 - here} after it arrived there" in run("audit", fails=1)
    assert run("account", "restore", "ann") == {
        "account": "ann", "from": here, "shard": 1 - here, "restored": True,
    }  # fmt: skip
    assert run("account", "show", "ann")["balance"] == "12.50"
    assert run("audit")["balanced"]


def test_what_may_not_move_is_explained(run: Run, config: Path, tmp_path: Path) -> None:
    assert "there is no shard 2" in run("account", "move", "ann", "--to", "2", fails=2)
    assert "no account 'nobody'" in run("account", "move", "nobody", "--to", "1", fails=2)
    with (tmp_path / "catalog" / "accounts.toml").open("a") as file:
        file.write('\n[group.family]\nowner = "bob"\n\n[group.family.member.ann]\n')
    run("catalog", "load", str(tmp_path / "catalog"))
    shard = shard_of(config, "bob")
    assert shard_of(config, "ann") == shard
    assert "in the group of bob" in run("account", "move", "ann", "--to", str(1 - shard), fails=2)
    assert "owns the group of ann" in run("account", "move", "bob", "--to", str(1 - shard), fails=2)
