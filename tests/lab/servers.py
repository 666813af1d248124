"""The daemon's neighbours, real ones: Redis, Mosquitto; and the daemon itself as a process of the command line.

Each is a child that dies with the tests' own process, listens on the loopback only and is stopped by its pid.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt

from .asterisk import RATER_SECRET
from .logs import show_tail
from .ports import free_port

ROOT = Path(__file__).resolve().parents[2]
RATER = [sys.executable, "-c", "from rater.cli import main; main()"]
SECRET_VARIABLE = "RATER_LAB_AMI_SECRET"


class Child:
    """A server process with its output in a file."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        environment = {
            **os.environ,
            SECRET_VARIABLE: RATER_SECRET,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "native")]),
        }
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *command], env=environment, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}\n{self.tail()}")
            if ready():
                return
            time.sleep(0.03)
        raise AssertionError(f"{self.name} was not ready within {timeout_s} s\n{self.tail()}")

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop and wait; what does not end in time is killed, and that is a failure."""
        if self.process.poll() is not None:
            return
        self.process.send_signal(number)
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(timeout=10)
            raise AssertionError(f"{self.name} did not end on {number.name}\n{self.tail()}") from None

    def kill_all(self) -> None:
        """Kill it and the processes that it started, all at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)

    def tail(self) -> str:
        return show_tail(self.log)


def answers(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def start_redis(folder: Path) -> tuple[Child, int]:
    """A Redis with its append-only file on; the process and its port."""
    folder.mkdir()
    port = free_port()
    command = [
        "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
    ]  # fmt: skip
    redis = Child("redis", command, folder / "log")
    redis.until(lambda: answers(port), 10)
    return redis, port


def start_broker(folder: Path) -> tuple[Child, int]:
    folder.mkdir()
    port = free_port()
    settings = folder / "mosquitto.conf"
    settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nuser root\n")
    broker = Child("mosquitto", ["mosquitto", "-c", str(settings)], folder / "log")
    broker.until(lambda: answers(port), 10)
    return broker, port


class Subscriber:
    """Keeps every message of the broker, in order of arrival."""

    def __init__(self, port: int) -> None:
        self._lock = threading.Lock()
        self._messages: list[tuple[str, dict[str, Any]]] = []
        subscribed = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
        self._client.on_message = lambda client, data, message: self._take(message)
        self._client.on_subscribe = lambda *args: subscribed.set()
        self._client.connect("127.0.0.1", port)
        self._client.subscribe("#", qos=1)
        self._client.loop_start()
        assert subscribed.wait(5), "the broker did not confirm the subscription"

    def _take(self, message: mqtt.MQTTMessage) -> None:
        with self._lock:
            self._messages.append((message.topic, json.loads(message.payload) if message.payload else {}))

    def messages(self, topic: str = "") -> list[dict[str, Any]]:
        """Payloads of the topics that begin so."""
        with self._lock:
            return [payload for name, payload in self._messages if name.startswith(topic)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def scrape(port: int) -> dict[str, float]:
    """A Prometheus endpoint's samples, by name and labels as written there."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


def run_rater(*arguments: str, expect: int = 0) -> dict[str, Any]:
    """One command of the product with --json; what it printed."""
    environment = {**os.environ, SECRET_VARIABLE: RATER_SECRET}
    done = subprocess.run(
        [*RATER, *arguments, "--json"], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == expect, f"rater {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
    printed: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
    return printed
