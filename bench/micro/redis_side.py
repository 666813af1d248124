"""What a call costs Redis: the requests that the daemon's side writes for it (see `daemon_side`), sent to a server
with an append-only file, as calls come that live at the same time. Accounts have their openings, and their
allowances were opened by as many calls before, which are not counted.

    python -m bench.micro.redis_side 1800                    bytes of requests, answers and the append-only file
    python -m bench.micro.redis_side 1800 --count            instructions too, as valgrind counts them
    python -m bench.micro.redis_side 1800 --count --profile F    for callgrind_annotate --inclusive=yes F
    python -m bench.micro.redis_side 1800 --count --apart    by kind: all reservations first, then all answers, …
    python -m bench.micro.redis_side 1800 --words            bytes of each word of the requests, by kind

Instructions are the same to a hundredth each time, whatever else the machine does: the more calls, the nearer. Not
counted: the kernel, waiting for memory. `--server`: another redis-server, such as one built with its symbols.
"""

from __future__ import annotations

import argparse
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hiredis

from bench.load.servers import redis_binary, stop
from bench.micro.daemon_side import T0_MS, run, script
from rater.catalog.model import Catalog
from rater.charging.keys import Keys
from rater.charging.model import Post, PostKind, Status
from rater.charging.scripts import Forms
from rater.charging.terms import Terms
from rater.charging.wire import from_reply, to_call
from rater.ids import OpId, Shard

RATE = 2000.0
KINDS = ("reserve", "answer", "extend", "settle")
TURN = 16
"""Requests that the server reads at once: about what it takes of a connection in a turn of its loop."""
_COLLECTED = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Sent:
    """A request as it is written."""

    kind: str
    leg: bytes
    data: bytes


@dataclass
class Cost:
    """Of requests of one kind, or of all."""

    requests: int = 0
    sent: int = 0
    answered: int = 0
    kept: int = 0
    """Bytes by which the append-only file grew."""
    instructions: int = 0

    def told(self, calls: int) -> str:
        each = (self.sent, self.answered, self.kept, self.instructions)
        return f"{self.requests / calls:>14.2f}" + "".join(f"{value / calls:>14,.0f}" for value in each)


def requests_of(calls: int) -> tuple[Catalog, list[Sent]]:
    """In the order in which the daemon writes them."""
    catalog, reads = script(calls, RATE)
    site = run(catalog, reads)
    return catalog, [_sent(words) for words in words_of(site.redis.written)]


def words_of(written: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The commands in what was written, as their words."""
    reader = hiredis.Reader()
    for data in written:
        reader.feed(data)
        while (words := reader.gets()) is not False:
            yield words


def _sent(words: Sequence[bytes]) -> Sent:
    return Sent(words[1].decode().rpartition("_")[2], words[3], hiredis.pack_command(tuple(words)))


def openings(catalog: Catalog, words: tuple[str, str]) -> Iterator[bytes]:
    """Every account's first posting, as loading a catalogue gives it."""
    keys = Keys("rater", Shard(0))
    for account in catalog.accounts.values():
        amount = account.opening_micro or 0
        post = Post(
            OpId(f"opening:{account.id}"), Shard(0), account.id, PostKind.OPENING, amount, T0_MS - 1, Terms()
        )
        _, names, arguments = to_call(post, keys, b"")
        yield hiredis.pack_command((*words, len(names), *names, *arguments))


class Server:
    """A redis-server of its own on a socket, perhaps under valgrind."""

    def __init__(self, binary: Path, folder: Path, *, counted: bool) -> None:
        self._folder = folder
        self._dumps = 0
        path = folder / "redis.sock"
        settings = {
            "port": "0", "unixsocket": str(path), "dir": str(folder), "appendonly": "yes", "appendfsync": "no",
            "save": "", "daemonize": "no", "auto-aof-rewrite-min-size": "8gb", "hz": "1", "dynamic-hz": "no",
            "slowlog-log-slower-than": "-1",
        }  # fmt: skip
        words = [str(binary), *(word for name, value in settings.items() for word in (f"--{name}", value))]
        if counted:
            out = f"--callgrind-out-file={folder}/calls.cg"
            words = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "--separate-threads=no", out, *words]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._socket = socket.socket(socket.AF_UNIX)
        while self._socket.connect_ex(str(path)):
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended with {self.process.returncode}")
            time.sleep(0.05)
        self._reader = hiredis.Reader()
        self._answered = 0

    def ask(self, commands: Sequence[bytes]) -> list[Any]:
        """All of them at once; their answers."""
        self._socket.sendall(b"".join(commands))
        answers: list[Any] = []
        while len(answers) < len(commands):
            data = self._socket.recv(1 << 16)
            self._answered += len(data)
            self._reader.feed(data)
            while (answer := self._reader.gets()) is not False:
                answers.append(answer)
        return answers

    def send(self, requests: Sequence[Sent]) -> Cost:
        """Raises RuntimeError unless each is done."""
        kept, answered = self._kept(), self._answered
        for start in range(0, len(requests), TURN):
            turn = requests[start : start + TURN]
            for request, answer in zip(turn, self.ask([each.data for each in turn]), strict=True):
                if isinstance(answer, Exception) or from_reply(answer).status is not Status.OK:
                    raise RuntimeError(f"{request.kind} was answered {answer!r}")
        answered = self._answered - answered
        return Cost(len(requests), sum(len(each.data) for each in requests), answered, self._kept() - kept)

    def count(self, to: str) -> None:
        self._control("-i", to)

    def counted(self, profile: Path | None) -> int:
        """Instructions since it was last asked."""
        self._dumps += 1
        self._control("-d", f"part-{self._dumps}")
        dump = self._folder / f"calls.cg.{self._dumps}"
        if profile is not None:
            shutil.copy(dump, profile)
        found = _COLLECTED.search(dump.read_text())
        return int(found[1]) if found is not None else 0

    def _control(self, *words: str) -> None:
        subprocess.run(["callgrind_control", *words, str(self.process.pid)], check=True, stdout=subprocess.DEVNULL)

    def _kept(self) -> int:
        info = self.ask([hiredis.pack_command(("INFO", "persistence"))])[0]
        return int(re.search(rb"aof_current_size:(\d+)", info)[1])  # type: ignore[index]

    def close(self) -> None:
        self._socket.close()
        stop(self.process)


@contextmanager
def server(binary: Path, *, counted: bool = False) -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        started = Server(binary, Path(folder), counted=counted)
        try:
            yield started
        finally:
            started.close()


def measure(
    calls: int, binary: Path, *, counted: bool = False, apart: bool = False, profile: Path | None = None
) -> dict[str, Cost]:
    """What the second half of so many calls costs, by what was counted together."""
    catalog, requests = requests_of(2 * calls)
    forms = Forms()
    with server(binary, counted=counted) as redis:
        for command in forms.loading():
            redis.ask([hiredis.pack_command(tuple(command))])
        postings = list(openings(catalog, forms.call("post")))
        for start in range(0, len(postings), TURN):
            redis.ask(postings[start : start + TURN])
        first = set(list(dict.fromkeys(request.leg for request in requests))[:calls])
        before = [request for request in requests if request.leg in first]
        parts = {"all": [request for request in requests if request.leg not in first]}
        if apart:
            parts = {kind: [request for request in parts["all"] if request.kind == kind] for kind in KINDS}
        redis.send(before)
        found = {}
        if counted:
            redis.count("on")
        for name, part in parts.items():
            if counted:
                redis.counted(None)
            found[name] = redis.send(part)
            if counted:
                found[name].instructions = redis.counted(profile)
    return found


def parts_of(calls: int) -> Iterator[str]:
    """Of each kind of request the bytes of its words, one a line, as they are on average."""
    catalog, reads = script(calls, RATE)
    words: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for each in words_of(run(catalog, reads).redis.written):
        counter, keys = words[each[1].decode().rpartition("_")[2]], int(each[2])
        for place, word in enumerate(each):
            name = ("FCALL", "function", "count")[place] if place < 3 else f"key {place - 2}"
            if place >= keys + 3:
                name = f"argument {place - keys - 2}"
            counter[name] += len(b"$%d\r\n\r\n" % len(word)) + len(word)
    for kind, counter in words.items():
        told = ", ".join(f"{name} {size / calls:.0f}" for name, size in counter.items())
        yield f"{kind} ({sum(counter.values()) / calls:.0f}): {told}"


def main() -> None:
    parser = argparse.ArgumentParser(description="What a call costs Redis.")
    add = parser.add_argument
    add("calls", type=int)
    add("--count", action="store_true", help="instructions, with valgrind")
    add("--apart", action="store_true", help="by kind of request")
    add("--profile", type=Path, help="keep valgrind's profile of the last part there")
    add("--words", action="store_true", help="bytes of each word of the requests")
    add("--server", type=Path, default=redis_binary(), help="a redis-server")
    args = parser.parse_args()
    if args.count and shutil.which("valgrind") is None:
        parser.error("valgrind is missing; install it (Debian, Ubuntu: apt install valgrind)")
    if args.words:
        print(*parts_of(args.calls), sep="\n")
        return
    if args.calls < 1:
        parser.error("at least one call must be sent")
    found = measure(args.calls, args.server, counted=args.count, apart=args.apart, profile=args.profile)
    titles = ("requests", "sent", "answered", "file", "instructions")
    print(f"{'a call':>8}" + "".join(f"{title:>14}" for title in titles))
    for name, cost in found.items():
        print(f"{name:>8}{cost.told(args.calls)}")


if __name__ == "__main__":
    main()
