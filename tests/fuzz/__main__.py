"""`tests/fuzz/run`: so many spoilt inputs for each target, with a bound on time and memory for each."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from tests.fuzz.targets import TARGETS

LONGEST_S = 5.0
"""For one input, of the processor's time."""
LONGEST_WALL_S = 120.0
"""Likewise by the wall clock: a machine that is busy with other things is no hang."""
GROWTH_MB = 64
WARM = 2_000
"""Inputs after which everything that is loaded once is there."""


@dataclass(frozen=True, slots=True)
class Outcome:
    inputs: int
    seconds: float
    slowest_ms: float
    grown_mb: float


class Hang(Exception):
    pass


class _Watch:
    """Rings within an input that takes too long."""

    def begin(self) -> None:
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()
        self._again(LONGEST_S)

    def end(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)

    def ring(self, number: int, frame: object) -> None:
        left_s = LONGEST_S - (time.process_time() - self._cpu_s)
        if left_s <= 0.01 or time.monotonic() - self._wall_s > LONGEST_WALL_S:
            raise Hang(f"one input took longer than {LONGEST_S:g} s")
        self._again(left_s)

    @staticmethod
    def _again(after_s: float) -> None:
        signal.setitimer(signal.ITIMER_REAL, after_s)


def fuzz(target: str, inputs: int, seed: int, *, for_s: float | None = None) -> Outcome:
    """Raises what the input raised that broke it, with a note that has seed, number and input."""
    watch = _Watch()
    signal.signal(signal.SIGALRM, watch.ring)
    process = psutil.Process()
    warm_mb, slowest_s, began_s = 0.0, 0.0, time.perf_counter()
    done = 0
    with contextlib.contextmanager(TARGETS[target])() as play:
        for number in itertools.islice(_numbers(began_s, for_s), inputs):
            before_s = time.perf_counter()
            watch.begin()
            try:
                play(random.Random(f"{seed}:{target}:{number}"))
            except BaseException as error:
                error.add_note(
                    f"again with: tests/fuzz/run --target {target} --seed {seed} --from {number} --inputs 1"
                )
                raise
            finally:
                watch.end()
            slowest_s = max(slowest_s, time.perf_counter() - before_s)
            done += 1
            if done == WARM:
                warm_mb = process.memory_info().rss / (1 << 20)
    grown_mb = process.memory_info().rss / (1 << 20) - warm_mb if warm_mb else 0.0
    assert grown_mb < GROWTH_MB, f"{target}: {grown_mb:.0f} MiB more than after {WARM} inputs"
    return Outcome(done, time.perf_counter() - began_s, slowest_s * 1000, grown_mb)


def _numbers(began_s: float, for_s: float | None) -> Iterator[int]:
    for number in itertools.count(_numbers.first):  # type: ignore[attr-defined]
        if for_s is not None and time.perf_counter() - began_s > for_s:
            return
        yield number


_numbers.first = 0  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(prog="tests/fuzz/run", description=__doc__)
    parser.add_argument("--target", choices=[*TARGETS, "all"], default="all")
    parser.add_argument("--inputs", type=int, default=10_000, help="for each target")
    parser.add_argument("--seconds", type=float, help="stop a target after so long")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--from", type=int, default=0, dest="first", help="number of the first input")
    given = parser.parse_args()
    _numbers.first = given.first  # type: ignore[attr-defined]
    for target in TARGETS if given.target == "all" else [given.target]:
        seen = fuzz(target, given.inputs, given.seed, for_s=given.seconds)
        print(
            f"{target}: {seen.inputs} inputs (seed {given.seed}) in {seen.seconds:.0f} s, "
            f"slowest {seen.slowest_ms:.1f} ms, {seen.grown_mb:+.1f} MiB",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
