"""Where each record goes on MQTT. Pure; the list with its meaning is docs/mqtt.md.

    <prefix>/event/<account>/<line>
    <prefix>/denied/<account>
    <prefix>/threshold/<account>/<threshold>
    <prefix>/balance/<account>           retained
    <prefix>/status                      retained, last will

Accounts, lines and thresholds are named by people, and ``/``, ``+`` and ``#`` mean something to a broker: so each
is written percent-encoded, as in an address. An empty one is written ``_``, and one that begins with ``_`` as
``%5F…``, so that no two names share a topic.
"""

from __future__ import annotations

from urllib.parse import quote

from rater.events.notices import DeniedRecord, PublicRecord, ThresholdRecord

EMPTY = "_"


def level(name: str) -> str:
    """One topic level that stands for `name` and for no other."""
    if not name:
        return EMPTY
    encoded = quote(name, safe="")
    return f"%5F{encoded[1:]}" if encoded.startswith("_") else encoded


def topic_of(prefix: str, record: PublicRecord) -> str:
    if isinstance(record, ThresholdRecord):
        return f"{prefix}/threshold/{level(record.account)}/{level(record.threshold)}"
    if isinstance(record, DeniedRecord):
        return f"{prefix}/denied/{level(record.account)}"
    return f"{prefix}/event/{level(record.account)}/{level(record.line)}"


def balance_topic(prefix: str, account: str) -> str:
    return f"{prefix}/balance/{level(account)}"


def status_topic(prefix: str) -> str:
    return f"{prefix}/status"
