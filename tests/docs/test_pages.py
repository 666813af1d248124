"""What README.md and docs/ name exists: every link, every anchor, every command with its options."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from rater.cli import app

ROOT = Path(__file__).parents[2]
FOLDERS = ("docs", "deploy", "bench", "tests", "rater", "config")
PAGES = [*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in sorted((ROOT / folder).rglob("*.md")))]
AWAITED = {ROOT / "bench/RESULTS.md"}
"""Still to be written; a link to it leads nowhere for now."""
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```$", re.M | re.S)
COMMAND = re.compile(r"(?:^|`)(?:[$] )?(?:deploy/demo|rater)((?: +[^`\n]*)?)", re.M)
WORD = re.compile(r"[a-z][a-z-]*$")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ +(.+)$", FENCE.sub("", text_of(page)), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    missing = []
    for target in LINK.findall(FENCE.sub("", text_of(page))):
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        if there in AWAITED and not there.exists():
            continue
        if not there.exists() or (anchor and anchor not in anchors(there)):
            missing.append(target)
    assert not missing


def commands(page: Path) -> list[list[str]]:
    """What follows `rater` in code: at the beginning of a line of a block, or of a span."""
    text = text_of(page)
    blocks = "\n".join(FENCE.findall(text))
    spans = "\n".join(re.findall(r"`[^`\n]+`", FENCE.sub("", text)))
    found = [match.group(0).strip("`$ ") for part in (blocks, spans) for match in COMMAND.finditer(part)]
    return [line.split("#")[0].split() for line in found if " " in line]


def unknown(words: list[str]) -> str | None:
    """The first word that names no command, or the first option that the command does not have."""
    command: Any = typer.main.get_command(app)
    if words[0] == "deploy/demo":
        words = ["rater", "demo", *words[1:]]
    rest = words[1:]
    while rest and hasattr(command, "commands"):
        word = rest.pop(0)
        if word.startswith("--") or word in ("·", "…"):
            break
        if not WORD.match(word) or word not in command.commands:
            return word
        command = command.commands[word]
    options = {option for one in command.params for option in (*one.opts, *one.secondary_opts)} | {"--help"}
    for word in rest:
        option = re.match(r"\[?(--[a-z-]+)", word)
        if option and option[1] not in options:
            return option[1]
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_exists_with_its_options(page: Path) -> None:
    wrong = {" ".join(words): word for words in commands(page) if (word := unknown(words)) is not None}
    assert not wrong


def test_commands_are_found_and_checked() -> None:
    """So that an empty list is not taken for a good one."""
    named = {words[1] for words in commands(ROOT / "README.md") if words[0] == "rater" and len(words) > 1}
    assert {"serve", "publish", "demo", "catalog", "price", "doctor"} <= named
    assert unknown(["rater", "serv"]) == "serv"
    assert unknown(["rater", "serve", "--nonsense"]) == "--nonsense"
    assert unknown(["deploy/demo", "--seconds", "20", "--json"]) is None
    command: Any = typer.main.get_command(app)
    assert set(command.commands) <= named, "every command is in the README"
