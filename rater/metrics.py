"""What Prometheus sees of a process. Engine and publisher report here by plain methods, or count in dictionaries of
it what each call counts; a scrape reads.

The hot path pays for a dictionary and an integer: nothing here takes a lock or formats a text until somebody
scrapes. Scrapes run in a thread of their own, so each collection starts from copies that C makes in one go.

Labels are few and bounded: switch, direction, mode, reason, script, shard, currency and the like. A number or an
account never becomes a label: both would grow without end, and both are personal. Names and meanings are listed in
docs/metrics.md, a public contract.
"""

from __future__ import annotations

import hmac
import platform
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    ProcessCollector,
    make_wsgi_app,
    start_http_server,
    write_to_textfile,
)
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from rater.errors import ConfigError
from rater.histogram import Histogram, Latencies
from rater.money import MICRO
from rater.verdict import Reason

_Counts = defaultdict[tuple[str, ...], int]
_Values = dict[tuple[str, ...], float]


class Metrics:
    """The numbers of one process. Counting methods add; the others replace the value for their labels."""

    def __init__(self, *, component: str = "serve") -> None:
        self._component = component
        self._counters: dict[str, _Counts] = {name: defaultdict(int) for name in _COUNTERS}
        self._gauges: dict[str, _Values] = {name: {} for name in _GAUGES}
        self.decisions = Histogram()
        """Seconds from the bytes of the event to the bytes of the action."""
        self.store_latencies = Latencies()
        """Seconds from the write of a script's call to its answer."""
        self.on_look: Callable[[], Iterable[tuple[str, int, int, int]]] = tuple
        """Asked at each scrape, in its thread: of the switches that are led their outbound and inbound legs and
        their calls. What changes with each call is not told with each call."""
        self.verdicts = self._counters["rater_verdicts"]
        """By mode and reason."""
        self.endings = self._counters["rater_legs_ended"]
        """By disposition and grade."""
        self.charges = self._counters["rater_charged_money"]
        """Micro-units by currency."""
        self._server: WSGIServer | None = None
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(_Families(self._families))
        ProcessCollector(registry=self.registry)

    # Decisions and legs

    def internal(self, switch: str, active: int) -> None:
        """Line-to-line calls, which are counted and not charged."""
        self._gauges["rater_internal_calls_active"][(switch,)] = active

    def expect_mode(self, mode: str) -> None:
        """From the start every verdict of this mode and every grade of an ending is told, as 0: an increase that
        begins with the first one is seen as such."""
        for reason in Reason:
            self.verdicts[mode, reason.code] += 0
        for grade in ("observed", "reconciled", "estimated"):
            self.endings["answered", grade] += 0

    def shadow_denial(self, kind: str, reason: str) -> None:
        """A leg in shadow, or a rule in shadow, would have been ``denied`` or ``cut``."""
        self._counters["rater_shadow_denials"][kind, reason] += 1

    def cut(self, cause: str) -> None:
        """One leg was ended by us: ``credit``, ``spend_limit``, ``operator``, ``max_length``."""
        self._counters["rater_legs_cut"][(cause,)] += 1

    # Money

    def reserved(self, currency: str, amount_micro: int) -> None:
        """Money that live legs hold at present."""
        self._gauges["rater_reserved_money"][(currency,)] = amount_micro / MICRO

    def reserved_seconds(self, seconds: int) -> None:
        """Allowance seconds that live legs hold at present."""
        self._gauges["rater_reserved_seconds"][()] = seconds

    # Switches

    def no_switch(self, switch: str) -> None:
        """At the start, and when the leadership is gone: neither led nor connected, and told as such."""
        self.leading(switch, False)
        self.switch_up(switch, False)
        self.frames(switch, 0, 0)
        self._counters["rater_ami_reconnects"][(switch,)] += 0
        for direction in ("in", "out"):
            self._gauges["rater_legs_active"][switch, direction] = 0
        self._gauges["rater_calls_active"][(switch,)] = 0
        self.internal(switch, 0)
        self.backlog(switch, 0)
        for name in ("rater_ami_lag_seconds", "rater_ami_clock_offset_seconds"):
            self._gauges[name].pop((switch,), None)

    def switch_up(self, switch: str, up: bool) -> None:
        self._gauges["rater_ami_up"][(switch,)] = up

    def switch_lag(self, switch: str, lag_s: float) -> None:
        """How late the newest event was handled, after the switch had stamped it."""
        self._gauges["rater_ami_lag_seconds"][(switch,)] = lag_s

    def clock_offset(self, switch: str, offset_s: float) -> None:
        """The switch's clock less this machine's."""
        self._gauges["rater_ami_clock_offset_seconds"][(switch,)] = offset_s

    def backlog(self, switch: str, frames: int) -> None:
        """Frames read and not yet handled."""
        self._gauges["rater_ami_backlog_frames"][(switch,)] = frames

    def frames(self, switch: str, good: int, bad: int) -> None:
        """So many frames more were read since the last report; bad ones were dropped."""
        self._counters["rater_ami_frames"][(switch,)] += good
        self._counters["rater_ami_bad_frames"][(switch,)] += bad

    def reconnected(self, switch: str) -> None:
        self._counters["rater_ami_reconnects"][(switch,)] += 1

    def leading(self, switch: str, leads: bool) -> None:
        self._gauges["rater_leader"][(switch,)] = leads

    # Store, outbox, catalogue

    def store_up(self, up: bool) -> None:
        self._gauges["rater_store_up"][()] = up

    def shard_up(self, shard: int, up: bool) -> None:
        self._gauges["rater_shard_up"][(str(shard),)] = up

    def store_lost(self, shard: int) -> None:
        """It came back without writes that it had."""
        self._counters["rater_store_losses"][(str(shard),)] += 1

    def outbox(self, shard: int, entries: int, dead: int) -> None:
        """Entries that the stream holds, delivered or not, and those set aside because nobody can read them."""
        self._gauges["rater_outbox_entries"][(str(shard),)] = entries
        self._gauges["rater_dead_letters"][(str(shard),)] = dead

    def outbox_lag(self, shard: int, groups: Mapping[str, tuple[int, float]]) -> None:
        """Of each consumer group the entries that it has not acknowledged, and the age in seconds of the oldest.
        Groups that are no longer there are told no longer."""
        entries, ages_s = self._gauges["rater_outbox_lag_entries"], self._gauges["rater_outbox_lag_seconds"]
        for key in [key for key in entries if key[0] == str(shard) and key[1] not in groups]:
            del entries[key], ages_s[key]
        for group, (count, age_s) in groups.items():
            entries[str(shard), group], ages_s[str(shard), group] = count, age_s

    def catalog_version(self, version: int) -> None:
        self._gauges["rater_catalog_version"][()] = version

    def ready(self, ready: bool) -> None:
        """Whether new calls are being decided; of the publisher, whether everything can be delivered. Also what
        ``/readyz`` answers."""
        self._gauges["rater_ready"][()] = ready

    # Publisher

    def sink_up(self, sink: str, up: bool) -> None:
        self._gauges["rater_publish_sink_up"][(sink,)] = up

    def is_sink_up(self, sink: str) -> bool:
        return bool(self._gauges["rater_publish_sink_up"].get((sink,)))

    def all_sinks_up(self) -> bool:
        return all(self._gauges["rater_publish_sink_up"].values())

    def published(self, sink: str, kind: str, entries: int = 1) -> None:
        """Entries that a sink took for good."""
        self._counters["rater_publish_entries"][sink, kind] += entries

    def publish_failed(self, sink: str) -> None:
        """One attempt to deliver broke off; the entries stay and are tried again."""
        self._counters["rater_publish_failures"][(sink,)] += 1

    def dead_letter(self, shard: int) -> None:
        """One entry that nobody can read, or that its target refuses, was set aside."""
        self._counters["rater_publish_dead_letters"][(str(shard),)] += 1

    def dropped(self, shard: int, stream: str, entries: int) -> None:
        """So many entries went unread, from ``outbox`` or ``dead``, because a limit of the settings says so."""
        self._counters["rater_dropped_entries"][str(shard), stream] += entries

    # Reading

    def _families(self) -> Iterator[Metric]:
        yield InfoMetricFamily("rater_build", "The version that runs.", {
            "version": version_text(), "component": self._component, "python": platform.python_version(),
        })  # fmt: skip
        for name, (text, labels) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=labels)
            scale = MICRO if name == "rater_charged_money" else 1
            for key, count in self._counters[name].copy().items():
                counter.add_metric(key, count / scale)
            yield counter
        live = self._live()
        for name, (text, labels) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=labels)
            for key, value in (self._gauges[name] | live.get(name, {})).items():
                gauge.add_metric(key, value)
            yield gauge
        yield _histogram("rater_decision_latency_seconds", {(): self.decisions})
        by_script = self.store_latencies.of.copy()
        yield _histogram("rater_store_latency_seconds", {(script,): by_script[script] for script in by_script})

    def _live(self) -> dict[str, _Values]:
        """Legs and calls as they are now."""
        legs: _Values = {}
        calls: _Values = {}
        for switch, outbound, inbound, active in self.on_look():
            legs[switch, "out"], legs[switch, "in"], calls[(switch,)] = outbound, inbound, active
        return {"rater_legs_active": legs, "rater_calls_active": calls}

    def serve(
        self, host: str, port: int, *, token: str = "", certificate: Path | None = None, key: Path | None = None
    ) -> int:
        """Answer ``/metrics``, ``/healthz`` and ``/readyz`` from a thread; the port that was bound (`port` may
        be 0). `token`: what ``/metrics`` is told for only. Raises ConfigError when it cannot be bound."""
        files = {"certfile": str(certificate), "keyfile": str(key)} if certificate is not None else {}
        try:
            server, _ = start_http_server(port, addr=host, registry=self.registry, **files)  # type: ignore[arg-type]
        except OSError as error:
            raise ConfigError(
                f"cannot serve metrics on {host}:{port}: {error.strerror or error}",
                hint="Choose another metrics port, stop what listens there, or mend the certificate and its key.",
            ) from error
        server.set_app(self._answer_with(make_wsgi_app(self.registry), token))
        self._server = server
        return int(server.server_port)

    def stop(self) -> None:
        """Stop answering; harmless when not serving."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _answer_with(self, metrics_app: Any, token: str) -> Any:
        expected = f"Bearer {token}".encode()

        def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            path = environ.get("PATH_INFO", "/")
            if path in ("/healthz", "/readyz"):
                good = path == "/healthz" or bool(self._gauges["rater_ready"].get(()))
                start_response("200 OK" if good else "503 Service Unavailable", [("Content-Type", "text/plain")])
                return [b"ok\n" if good else b"not ready\n"]
            given = environ.get("HTTP_AUTHORIZATION", "").encode("utf-8", "surrogateescape")
            if token and not hmac.compare_digest(given, expected):
                head = [("WWW-Authenticate", 'Bearer realm="rater"'), ("Content-Type", "text/plain")]
                start_response("401 Unauthorized", head)
                return [b"bring the token\n"]
            return metrics_app(environ, start_response)  # type: ignore[no-any-return]  # an untyped WSGI app

        return answer


@cache
def version_text() -> str:
    """The version that runs. It is looked for on the disk, once."""
    try:
        return version("rater")
    except PackageNotFoundError:
        return "uninstalled"


class _Families(Collector):
    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families()


def _histogram(name: str, of: Mapping[tuple[str, ...], Histogram]) -> HistogramMetricFamily:
    text, labels = _HISTOGRAMS[name]
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, histogram in of.items():
        family.add_metric(key, buckets=histogram.buckets(), sum_value=histogram.sum_s)
    return family


def write_audit(path: Path, *, accounts: int, differences: int, at_s: float) -> None:
    """What an audit found, for the text-file collector of Prometheus' node exporter; `path` changes in one go.
    Raises OSError."""
    registry = CollectorRegistry()
    for name, value in zip(_AUDIT, (accounts, differences, at_s), strict=True):
        Gauge(name, _AUDIT[name], registry=registry).set(value)
    write_to_textfile(str(path), registry)


def families() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Everything that is exposed beside the process's own: name as scraped → type and labels."""
    return {
        "rater_build_info": ("info", ("version", "component", "python")),
        **{f"{name}_total": ("counter", labels) for name, (_, labels) in _COUNTERS.items()},
        **{name: ("gauge", labels) for name, (_, labels) in _GAUGES.items()},
        **dict.fromkeys(_AUDIT, ("gauge", ())),
        **{name: ("histogram", labels) for name, (_, labels) in _HISTOGRAMS.items()},
    }


_COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "rater_verdicts": ("Decisions taken.", ("mode", "reason")),
    "rater_shadow_denials": ("What rules in shadow would have denied or cut.", ("kind", "reason")),
    "rater_legs_ended": ("Legs that ended.", ("disposition", "grade")),
    "rater_legs_cut": ("Legs that rater ended.", ("cause",)),
    "rater_charged_money": ("Money charged, in units of the currency.", ("currency",)),
    "rater_ami_frames": ("AMI frames read.", ("switch",)),
    "rater_ami_bad_frames": ("AMI frames dropped as unreadable.", ("switch",)),
    "rater_ami_reconnects": ("AMI connections made again after a break.", ("switch",)),
    "rater_store_losses": ("Times that Redis came back without writes that it had.", ("shard",)),
    "rater_publish_entries": ("Outbox entries delivered.", ("sink", "kind")),
    "rater_publish_failures": ("Deliveries that broke off and are tried again.", ("sink",)),
    "rater_dropped_entries": ("Entries dropped unread, as the settings say.", ("shard", "stream")),
    "rater_publish_dead_letters": ("Outbox entries set aside as unreadable or refused.", ("shard",)),
}
_GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "rater_legs_active": ("Live legs.", ("switch", "direction")),
    "rater_calls_active": ("Live calls.", ("switch",)),
    "rater_internal_calls_active": ("Live line-to-line calls, not charged.", ("switch",)),
    "rater_reserved_money": ("Money held by live legs, in units of the currency.", ("currency",)),
    "rater_reserved_seconds": ("Allowance seconds held by live legs.", ()),
    "rater_ami_up": ("Whether the AMI connection is logged in.", ("switch",)),
    "rater_ami_lag_seconds": ("How late the newest event was handled.", ("switch",)),
    "rater_ami_backlog_frames": ("AMI frames read and not yet handled.", ("switch",)),
    "rater_ami_clock_offset_seconds": ("The switch's clock less this machine's.", ("switch",)),
    "rater_leader": ("Whether this process leads the switch.", ("switch",)),
    "rater_store_up": ("Whether Redis answers, every master of it.", ()),
    "rater_shard_up": ("Whether the shard's master answers.", ("shard",)),
    "rater_outbox_entries": ("Entries that the outbox holds, delivered or not.", ("shard",)),
    "rater_outbox_lag_entries": ("Outbox entries that the group has not acknowledged.", ("shard", "group")),
    "rater_outbox_lag_seconds": ("Age of the oldest of them.", ("shard", "group")),
    "rater_dead_letters": ("Outbox entries set aside as unreadable, still kept.", ("shard",)),
    "rater_catalog_version": ("Version of the catalogue in use.", ()),
    "rater_ready": ("Whether the process does its work: decides new calls, or delivers.", ()),
    "rater_publish_sink_up": ("Whether a sink takes deliveries.", ("sink",)),
}
_AUDIT = {
    "rater_audit_accounts": "Accounts that the last audit looked at.",
    "rater_audit_differences": "What it found to differ.",
    "rater_audit_finished_timestamp_seconds": "When it ended.",
}
_HISTOGRAMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "rater_decision_latency_seconds": ("From the switch's event to our action.", ()),
    "rater_store_latency_seconds": ("From the call of a script to its answer.", ("script",)),
}
