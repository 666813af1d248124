"""The pieces of the hot path one by one, each beside what it is compared with:

    python -m pytest bench/micro                        small sizes, as the tests run them
    python -m pytest bench/micro --size 20000           large ones

What scripts cost the Redis server is `bench/charging.py`'s part, the whole path `bench/run`'s.
"""

from __future__ import annotations

from pathlib import Path

import pytest

CAPTURES = Path(__file__).parents[2] / "tests" / "switch" / "captures"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--size", type=int, default=50, help="calls parsed, prefixes of the deck")


@pytest.fixture(scope="session")
def size(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--size"))


@pytest.fixture(scope="session")
def one_call() -> bytes:
    """The stream of a gated, answered call, as a real switch sent it."""
    stream = (CAPTURES / "gate.ami").read_bytes()
    return stream[stream.index(b"Event: Newchannel") :]
