"""Every way a call can move, on a real switch: who pays, for how long, how much, and which slots are held.

docs/conformance.md is the table of these scenarios. Those of one mode play at once, eight at a time, around one
daemon; each has lines, accounts and numbers of its own (stage.py). What fails then is played again alone, and must
hold. A scenario's test shows its outcome.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from . import moves_calls, moves_cuts, moves_transfers
from .ami import Ami
from .asterisk import Asterisk
from .servers import ROOT
from .site import Site
from .stage import WARN_BEFORE_S, Leg, Stage, write_catalog

Move = Callable[[Stage], list[Leg]]
MOVES: list[Move] = [*moves_transfers.MOVES, *moves_calls.MOVES, *moves_cuts.MOVES]
AT_ONCE = 8


def play(move: Move, stage: Stage) -> None:
    """Play it to its end and judge it. Whatever went wrong is raised with the records of its telephones."""
    try:
        stage.judge(move(stage))
    except Exception as error:
        seen = "\n".join([*(sipp.tail() for sipp in stage.phones.all), *stage.told()])
        raise AssertionError(f"{type(error).__name__}: {error}\n{seen}") from error
    finally:
        stage.close()


def play_all(
    the_asterisk: Asterisk, mode: str, folder: Path, moves: dict[int, Move], at_once: int
) -> dict[str, Future[None]]:
    """So many at a time, around a site of their own. `moves` by the number that says which lines are whose."""
    site = Site(folder / "site", the_asterisk.ami_port, write_catalog(folder / "catalog"))
    try:
        site.open(mode=mode, fail="closed", charging={}, warn_before_s=WARN_BEFORE_S)
        site.start_daemon()
        with Ami(the_asterisk.ami_port, events="off") as ami:
            ami.action("Setvar", Variable="MOVES_MODE", Value=mode)
        with ThreadPoolExecutor(at_once) as pool:
            outcomes = {
                move.__name__: pool.submit(
                    lambda move=move, index=index: play(
                        move, Stage(the_asterisk, site, mode, folder / move.__name__, index)
                    )
                )
                for index, move in moves.items()
            }
        the_asterisk.hang_up_everything()
        site.settled()
        return outcomes
    finally:
        site.close()


@pytest.fixture(scope="module", params=["gate", "watch"])
def played(
    request: pytest.FixtureRequest, the_asterisk: Asterisk, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Future[None]]:
    """What eight at a time on two cores shook is played again, alone, and must do then; a warning names it."""
    mode = str(request.param)
    items = [item for item in request.session.items if isinstance(item, pytest.Function)]
    wanted = {
        item.callspec.params["name"]
        for item in items
        if item.function is test_18_each_leg_of_a_call_that_moves_is_charged_once_to_the_right_account
    }
    moves = {index: move for index, move in enumerate(MOVES) if move.__name__ in wanted}
    folder = tmp_path_factory.mktemp(f"moves-{mode}")
    outcomes = play_all(the_asterisk, mode, folder, moves, AT_ONCE)
    shaken = {index: move for index, move in moves.items() if outcomes[move.__name__].exception() is not None}
    if shaken:
        names = ", ".join(move.__name__ for move in shaken.values())
        first = outcomes[next(iter(shaken.values())).__name__].exception()
        warnings.warn(f"played again alone ({mode}): {names}; the first: {str(first)[:300]}", stacklevel=1)
        outcomes |= play_all(the_asterisk, mode, folder / "alone", shaken, 1)
    return outcomes


@pytest.mark.parametrize("name", [move.__name__ for move in MOVES])
def test_18_each_leg_of_a_call_that_moves_is_charged_once_to_the_right_account(
    played: dict[str, Future[None]], name: str
) -> None:
    played[name].result()


def test_every_move_is_in_the_published_table() -> None:
    text = (ROOT / "docs" / "conformance.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(rows) == sorted(move.__name__ for move in MOVES)
