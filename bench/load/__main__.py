"""Starts the load generator, see `generator`; its hot modules compiled, see `compiled`."""

from __future__ import annotations

from bench.load import compiled


def start() -> None:
    compiled.install()
    from bench.load.generator import main  # not before that: what it imports is found then

    main()


if __name__ == "__main__":
    start()
