"""What a mail about crossed thresholds says, in the account's language.

The texts are TOML files with ``$names`` in them, one for each language; an operator may have files of their own.
Amounts, percentages and times are written as the language's locale does.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from string import Template
from typing import Any
from zoneinfo import ZoneInfo

from babel.dates import format_datetime
from babel.numbers import format_currency, format_percent

from rater.errors import ConfigError
from rater.events.notices import ThresholdRecord
from rater.money import MICRO

LANGUAGES = ("en", "fr", "pt_BR", "tr")
LINES_MAX = 50
_OWN = Path(__file__).parent / "mail"
_KEYS = {
    "subject": ("name", "short"), "subject_many": ("name", "count"), "greeting": ("name",), "closing": ("name",),
    "more": ("count",),
}  # fmt: skip
_PARTS = ("short", "line")
_VALUES = ("name", "value", "before", "after", "grant", "threshold")
_FIRST = ("money_below", "allowance_percent", "other")
_LATER = ("money_above", "spend_hour", "spend_day", "spend_cycle")
"""What a file of an operator's own may not have yet: then `other` stands for it."""


@dataclass(frozen=True, slots=True)
class Contact:
    """Who is told of an account's thresholds, and how amounts and times read there."""

    account: str
    name: str
    addresses: tuple[str, ...]
    language: str
    currency: str
    zone: str


class Texts:
    """The texts of one language, checked. Raises ConfigError when one is missing or names what is not there."""

    def __init__(self, language: str, folder: Path | None = None) -> None:
        self.language = language
        path = folder / f"{language}.toml" if folder is not None else None
        self._path = path if path is not None and path.exists() else _OWN / f"{language}.toml"
        self._table = self._read()
        self._single = {key: self._template(self._table, key, names) for key, names in _KEYS.items()}
        self._by_kind = {
            kind: {part: self._template(self._table.get(kind), part, _VALUES) for part in _PARTS}
            for kind in (*_FIRST, *(later for later in _LATER if later in self._table))
        }

    def _read(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"cannot read the mail texts {self._path}: {error}", hint="TOML in UTF-8.") from error

    def _template(self, table: Any, key: str, names: Sequence[str]) -> Template:
        text = table.get(key) if isinstance(table, Mapping) else None
        if not isinstance(text, str):
            raise ConfigError(
                f"{self._path}: {key!r} is missing", hint="Start from the file that rater comes with."
            )
        try:
            Template(text).substitute(dict.fromkeys(names, ""))
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"{self._path}: {key!r} cannot be filled in: {error}",
                hint=f"It may name {', '.join(f'${name}' for name in names)}; a dollar sign is written $$.",
            ) from error
        return Template(text)

    def subject(self, contact: Contact, records: Sequence[ThresholdRecord], omitted: int) -> str:
        if len(records) == 1 and not omitted:
            short = self._fill("short", contact, records[0])
            return self._single["subject"].substitute(name=contact.name, short=short)
        return self._single["subject_many"].substitute(name=contact.name, count=len(records) + omitted)

    def body(self, contact: Contact, records: Sequence[ThresholdRecord], omitted: int) -> str:
        """Each crossing on a line, the newest last; of very many only the newest."""
        shown = records[-LINES_MAX:]
        hidden = omitted + len(records) - len(shown)
        lines = [f"- {self._at(contact, each)}: {self._fill('line', contact, each)}" for each in shown]
        if hidden:
            lines.insert(0, self._single["more"].substitute(count=hidden))
        name = {"name": contact.name}
        greeting, closing = self._single["greeting"].substitute(name), self._single["closing"].substitute(name)
        return "\n".join([greeting, "", contact.name, "", *lines, "", closing, ""])

    def _fill(self, part: str, contact: Contact, record: ThresholdRecord) -> str:
        kind = record.kind if record.kind in self._by_kind else "other"
        values = {
            "name": contact.name, "grant": record.grant or "", "threshold": record.threshold,
            "value": record.value, "before": record.before, "after": record.after,
        }  # fmt: skip
        if record.kind in ("money_below", *_LATER):
            for name in ("value", "before", "after"):
                values[name] = self._amount(getattr(record, f"{name}_raw"), contact.currency)
        elif record.kind == "allowance_percent":
            values["value"] = format_percent(Decimal(record.value_raw) / 100, locale=self.language)
            values["before"], values["after"] = _clock(record.before_raw), _clock(record.after_raw)
        return self._by_kind[kind][part].substitute(values)

    def _amount(self, amount_micro: int, currency: str) -> str:
        amount = Decimal(amount_micro) / MICRO
        return format_currency(amount, currency, locale=self.language, decimal_quantization=False)

    def _at(self, contact: Contact, record: ThresholdRecord) -> str:
        moment = datetime.fromisoformat(record.at)
        return format_datetime(moment, "short", tzinfo=ZoneInfo(contact.zone), locale=self.language)


def _clock(seconds: int) -> str:
    """Hours, minutes and seconds: ``1:05:09``."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"
