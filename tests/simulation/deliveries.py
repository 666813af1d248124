"""Judges what the targets of a world were sent, against what was committed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgpack

from rater.events.stream import dead_key

from .auditor import Finding
from .publishing import KEY, PREFIX, Publishing
from .servers import SHARD
from .targets import Target, never_taken

Key = tuple[str, str]
MOST_PENDING = {"mqtt": 50, "webhook:crm": 20, "billing": 50}


def judge(publishing: Publishing) -> Iterator[Finding]:
    """Everything committed came to each target, once for who absorbs repeats by id, in order, unchanged; nothing
    else did; what a target will never take is set aside, and nothing more."""
    streams = publishing.streams
    committed = _keys([*streams.dropped, *streams.entries(KEY)])
    unsure = set(_keys(publishing.unsure))
    dead: dict[str, set[Key]] = {}
    for fields in streams.entries(dead_key(PREFIX, SHARD)):
        dead.setdefault(fields[b"group"].decode(), set()).update(_keys([fields]))
    for group, target in zip(MOST_PENDING, publishing.targets, strict=True):
        yield from _judge_one(group, target, committed, unsure, dead.get(group, set()), publishing.in_order)
        most = streams.most_pending.get(group, 0)
        if most > MOST_PENDING[group]:
            yield Finding("delivery", f"{group}: {most} entries were held at a time, {MOST_PENDING[group]} at most")


def _judge_one(
    group: str, target: Target, committed: list[Key], unsure: set[Key], dead: set[Key], in_order: bool
) -> Iterator[Finding]:
    received: dict[Key, dict[str, Any]] = {}
    for record in target.taken:
        key = (record["schema"].split("/")[0].removeprefix("rater."), record["id"])
        first = received.setdefault(key, record)
        if first != record and key not in unsure and key[0] != "denied":
            yield Finding("delivery", f"{group}: {key} came again with other contents: {first}, then {record}")
    known = set(committed)
    for key in received.keys() - known - unsure:
        yield Finding("delivery", f"{group}: {key} was never committed")
    refusable = {key for key in known | unsure if group != "billing" and never_taken(key[1])}
    for key in dead - refusable:
        yield Finding("delivery", f"{group}: {key} was set aside, though it would be taken")
    for key in sorted(known - received.keys() - dead):
        yield Finding("delivery", f"{group}: {key} was never delivered")
    if in_order and not unsure:
        due = [key for key in dict.fromkeys(committed) if key in received]
        came = [key for key in received if key in known]
        for got, wanted in zip(came, due, strict=True):
            if got != wanted:
                yield Finding("delivery", f"{group}: {got} came where {wanted} was due")
                break


def _keys(entries: Iterable[Mapping[bytes, bytes]]) -> list[Key]:
    found = []
    for fields in entries:
        kind = fields.get(b"k", b"").decode()
        if not kind:  # an entry that was trimmed away before it was delivered
            found.append(("", "gone"))
            continue
        known: dict[str, Any] = msgpack.unpackb(fields[b"r"] if kind == "threshold" else fields[b"f"])
        found.append((kind, str(known["id"])))
    return found
