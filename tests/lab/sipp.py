"""Telephones and trunks: sipp processes with the scenarios beside this file, and what they saw.

sipp stamps every message it sends or receives with the machine's clock, to the microsecond. That record, not the
switch's nor the product's, is what the tests measure with.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .logs import show_tail
from .ports import free_port, media_port

SCENARIOS = Path(__file__).parent / "scenarios"
LONG_MS = 120_000
"""Longer than any test: the other side ends the call."""


@dataclass
class SipCall:
    """One call as one sipp saw it. Moments are seconds since the epoch; None: did not happen."""

    call_id: str
    messages: list[tuple[float, str, str, str]] = field(default_factory=list)
    """(moment, ``S`` sent or ``R`` received, CSeq's method, first line)"""

    def _first(self, test: Callable[[str, str, str], bool]) -> float | None:
        return next((at for at, way, method, line in self.messages if test(way, method, line)), None)

    @property
    def invited_s(self) -> float:
        first = self._first(lambda _, method, line: method == "INVITE")
        assert first is not None
        return first

    @property
    def answered_s(self) -> float | None:
        return self._first(lambda _, method, line: method == "INVITE" and line.startswith("SIP/2.0 200"))

    @property
    def ended_s(self) -> float | None:
        """The first BYE, whoever sent it."""
        return self._first(lambda _, method, line: method == "BYE" and line.startswith("BYE"))

    @property
    def was_cut(self) -> bool:
        """The first BYE came from the other side."""
        byes = [way for _, way, _, line in self.messages if line.startswith("BYE")]
        return bool(byes) and byes[0] == "R"

    @property
    def status(self) -> int | None:
        """The final response to the INVITE."""
        for _, _, method, line in self.messages:
            if method == "INVITE" and line.startswith("SIP/2.0 "):
                code = int(line.split()[1])
                if code >= 200:
                    return code
        return None

    @property
    def decided_s(self) -> float | None:
        """When the final response to the INVITE passed."""
        return self._first(
            lambda _, method, line: method == "INVITE" and line.startswith("SIP/2.0 ") and line.split()[1] >= "200"
        )

    @property
    def talked_s(self) -> float:
        """From the 200 to the BYE."""
        assert self.answered_s is not None, f"{self.call_id} was not answered: {self.messages}"
        assert self.ended_s is not None, f"{self.call_id} has not ended: {self.messages}"
        return self.ended_s - self.answered_s


class Sipp:
    """One sipp process. `folder`: where its scenario and records go."""

    def __init__(
        self, folder: Path, name: str, scenario: str, values: dict[str, object], args: Sequence[str]
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        stem = folder / f"{name}-{time.monotonic_ns()}"
        text = (SCENARIOS / f"{scenario}.xml").read_text()
        for key, value in {"EXTRA": "X-Lab: 1", "MEDIA_PORT": "[media_port]", **values}.items():
            text = text.replace(f"@{key}@", str(value))
        stem.with_suffix(".xml").write_text(text, encoding="latin-1")  # as the scenarios say
        self.port = free_port(socket.SOCK_DGRAM)
        self.record = stem.with_suffix(".messages")
        self.output = stem.with_suffix(".out")
        self._name = name
        command = [
            "setpriv", "--pdeathsig", "KILL", "sipp", "-nostdin", "-sf", str(stem.with_suffix(".xml")),
            "-i", "127.0.0.1", "-p", str(self.port), "-mp", str(media_port()),
            "-trace_shortmsg", "-shortmessage_file", str(self.record), "-shortmessage_overwrite", "true",
            "-trace_err", "-error_file", str(stem.with_suffix(".errors")), *args,
        ]  # fmt: skip
        with self.output.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, cwd=folder
            )

    def calls(self) -> list[SipCall]:
        """What it has seen so far, in the order of the first message of each call."""
        found: dict[str, SipCall] = {}
        if not self.record.exists():
            return []
        for line in self.record.read_text(errors="replace").splitlines():
            parts = line.split("\t")
            if len(parts) != 7:
                continue  # the last line, half written
            _, _, moment, way, call_id, cseq, first = parts
            call = found.setdefault(call_id, SipCall(call_id))
            call.messages.append((float(moment), way, cseq.split()[-1], first))
        return list(found.values())

    def wait(self, timeout_s: float) -> list[SipCall]:
        """Wait for its end, then what it saw. A scenario that went another way than expected fails here."""
        try:
            code = self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            self.stop()
            raise AssertionError(f"sipp {self._name} did not end within {timeout_s} s\n{self.tail()}") from None
        assert code == 0, f"sipp {self._name} ended with {code}\n{self.tail()}"
        return self.calls()

    def until(self, condition: Callable[[list[SipCall]], bool], timeout_s: float, what: str) -> list[SipCall]:
        """Poll its record until `condition` holds."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            calls = self.calls()
            if condition(calls):
                return calls
            assert self._process.poll() in (None, 0), f"sipp {self._name} has ended\n{self.tail()}"
            time.sleep(0.02)
        raise AssertionError(f"sipp {self._name}: {what} did not happen within {timeout_s} s\n{self.tail()}")

    def until_answered(self, count: int = 1, timeout_s: float = 10.0) -> list[SipCall]:
        return self.until(
            lambda calls: sum(call.answered_s is not None for call in calls) >= count,
            timeout_s, f"{count} answers",
        )  # fmt: skip

    def tail(self) -> str:
        """Its record and its errors, for a person."""
        paths = (self.record, self.output.with_suffix(".errors"))
        return "\n".join(show_tail(path, 40) for path in paths if path.exists())

    @property
    def lives(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(timeout=5)


class Telephony:
    """Makes the sipp processes of one test, and stops them all at its end."""

    def __init__(self, folder: Path, sip_port: int, set_global: Callable[[str, object], None]) -> None:
        self._folder = folder
        self._sip_port = sip_port
        self._set_global = set_global
        self.all: list[Sipp] = []

    def _start(self, name: str, scenario: str, values: dict[str, object], args: Sequence[str]) -> Sipp:
        sipp = Sipp(self._folder, name, scenario, values, args)
        self.all.append(sipp)
        return sipp

    def trunk(self, *, ring_ms: int = 100, talk_ms: int = LONG_MS) -> Sipp:
        """The trunk from now on: rings, answers, and hangs up `talk_ms` later unless the switch does before."""
        return self._announced("TRUNK_PORT", "trunk", "callee", times(ring_ms, talk_ms))

    def refusing_trunk(self, code: int) -> Sipp:
        """The trunk from now on: refuses every call with this SIP code."""
        return self._announced("TRUNK_PORT", f"trunk{code}", "refuser", {"CODE": code})

    def no_trunk(self) -> None:
        """Nobody listens where the trunk should be."""
        self._set_global("TRUNK_PORT", free_port(socket.SOCK_DGRAM))

    def telephone(self, *, ring_ms: int = 100, talk_ms: int = LONG_MS) -> Sipp:
        """What rings when the switch dials a line."""
        return self._announced("PHONE_PORT", "phone", "callee", times(ring_ms, talk_ms))

    def _announced(self, variable: str, name: str, scenario: str, values: dict[str, object]) -> Sipp:
        sipp = self.listener(name, scenario, values)
        self._set_global(variable, sipp.port)
        return sipp

    def listener(self, name: str, scenario: str, values: dict[str, object]) -> Sipp:
        """Whoever is called: a sipp that is bound when this returns. `values`: for the scenario's places."""
        for _ in range(3):
            sipp = self._start(name, scenario, values, ["-timeout", "300"])
            if _is_bound(sipp):
                return sipp
            sipp.stop()  # somebody else took its port meanwhile
        raise AssertionError(f"sipp did not open its port\n{sipp.tail()}")

    def caller(
        self, line: int | str, numbers: str | Sequence[str], *, talk_ms: int = LONG_MS, rate: int = 100,
        headers: Sequence[str] = (), scenario: str = "caller", values: dict[str, object] | None = None,
    ) -> Sipp:  # fmt: skip
        """A line that calls a number, or several at once; hangs up `talk_ms` after the answer."""
        return self._caller(scenario, line, numbers, talk_ms, rate, headers, values)

    def canceller(self, line: int | str, number: str, *, after_ms: int) -> Sipp:
        """A line that calls and gives up."""
        return self._caller("caller_cancels", line, number, after_ms, 100, ())

    def _caller(
        self, scenario: str, line: int | str, numbers: str | Sequence[str], talk_ms: int, rate: int,
        headers: Sequence[str], values: dict[str, object] | None = None,
    ) -> Sipp:  # fmt: skip
        numbers = [numbers] if isinstance(numbers, str) else list(numbers)
        data = self._folder / f"numbers-{time.monotonic_ns()}.csv"
        self._folder.mkdir(parents=True, exist_ok=True)
        data.write_text("SEQUENTIAL\n" + "".join(f"{line};{number};\n" for number in numbers))
        count = str(len(numbers))
        return self._start(
            f"line{line}", scenario,
            {"TALK_MS": talk_ms, "NAME": "", "EXTRA": "\n".join(["X-Lab: 1", *headers]), **(values or {})},
            ["-inf", str(data), "-m", count, "-l", count, "-r", str(rate), "-timeout", "240",
             f"127.0.0.1:{self._sip_port}"],
        )  # fmt: skip

    def stop(self) -> None:
        for sipp in self.all:
            sipp.stop()


def times(ring_ms: int, talk_ms: int) -> dict[str, object]:
    """sipp takes a time-out of 0 for none at all."""
    return {"RING_MS": max(1, ring_ms), "TALK_MS": max(1, talk_ms)}


def _is_bound(sipp: Sipp) -> bool:
    """Wait until a callee is bound, so that the first INVITE finds it; False when it has ended instead."""
    deadline_s = time.monotonic() + 10
    wanted = f"0100007F:{sipp.port:04X}"
    while sipp.lives and time.monotonic() < deadline_s:
        if wanted in Path("/proc/net/udp").read_text() and sipp.lives:
            return True
        time.sleep(0.01)
    return False
