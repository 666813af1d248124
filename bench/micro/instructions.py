"""Instructions that the daemon's side executes for a call, as valgrind counts them: nearly the same each time,
whatever else the machine does, so that a step of a hundredth can be seen. Not counted: the kernel, the loop,
waiting for memory.

    python -m bench.micro.instructions 1800                        1,800 calls; a minute or two
    python -m bench.micro.instructions 1800 --profile calls.cg     for callgrind_annotate --inclusive=yes calls.cg
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from bench.micro.daemon_side import Site, run, script
from rater.interpreter import spare_the_collector

RATE = 2000.0
NEVER_NS = 1 << 62
"""When lags are looked at: how often that is within a run depends on how fast the machine is."""
_WITHIN = "RATER_COUNTED"
"""Set in the process that valgrind runs."""


def count(calls: int, profile: Path) -> int:
    """Runs itself under valgrind, which leaves its profile there; instructions a call."""
    command = [
        "valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={profile}",
        sys.executable, "-m", "bench.micro.instructions", str(calls),
    ]  # fmt: skip
    surroundings = os.environ | {_WITHIN: "1", "PYTHONHASHSEED": "0"}
    told = subprocess.run(command, env=surroundings, capture_output=True, text=True, check=False)
    counted = re.search(r"Collected : (\d+)", told.stderr)
    if told.returncode or counted is None:
        sys.exit(f"valgrind counted nothing:\n{told.stderr}")
    return int(counted[1]) // calls


def counted(calls: int) -> None:
    """The part that counts, after a round in which everything has been met once."""
    catalog, reads = script(calls, RATE)
    run(catalog, reads)
    site = Site(catalog)
    for adapter in site.adapters:
        adapter._measure_next_ns = NEVER_NS
    spare_the_collector()
    _switch("on")
    for read in reads:
        site.feed(read)
    _switch("off")


def _switch(to: str) -> None:
    subprocess.run(["callgrind_control", "-i", to, str(os.getpid())], check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    parser = argparse.ArgumentParser(description="Instructions of the daemon's side a call, counted by valgrind.")
    parser.add_argument("calls", type=int)
    parser.add_argument("--profile", type=Path, help="keep valgrind's profile there")
    args = parser.parse_args()
    if args.calls < 1:
        parser.error("at least one call must be counted")
    if _WITHIN in os.environ:
        counted(args.calls)
        return
    if shutil.which("valgrind") is None:
        parser.error("valgrind is missing; install it (Debian, Ubuntu: apt install valgrind)")
    with tempfile.TemporaryDirectory() as folder:
        profile = args.profile or Path(folder, "calls.cg")
        print(f"{count(args.calls, profile):,} instructions a call")


if __name__ == "__main__":
    main()
