"""What a thief or a broken disk would do to the books, so that audits can be seen to notice."""

from __future__ import annotations

import redis

from rater.charging.wire import parse_sequence, sequence

BALANCE = 1
"""Its place in the packed account; see rater/charging/lua/prelude.lua."""


def add_to_balance(client: redis.Redis, key: str, by_micro: int) -> None:
    """Changes a stored balance behind the scripts' back, while they may be at work on it."""

    def change(pipe: redis.client.Pipeline) -> None:
        stored = pipe.get(key)
        assert isinstance(stored, bytes), f"no account at {key}"
        fields = parse_sequence(stored)
        fields[BALANCE] += by_micro
        pipe.multi()
        pipe.set(key, sequence(fields))

    client.transaction(change, key)
