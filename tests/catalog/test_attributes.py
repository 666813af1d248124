"""Both readers of attributes read what the record has, and refuse classes that keep it elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest

from rater import attributes_reference
from rater.catalog.model import Account, Modality
from rater.ids import AccountId, PlanId

native = pytest.importorskip("rater_native.attributes")
each_way = pytest.mark.parametrize("way", [native, attributes_reference], ids=["compiled", "reference"])
ACCOUNT = Account(AccountId("ACME"), PlanId("basic"), Modality.PREPAID, name="Acme", since_ms=1 << 41)


@dataclass(frozen=True)
class Open:
    """Without slots."""

    plan: str
    since_ms: int = 0


class Computed:
    __slots__ = ()

    @property
    def plan(self) -> str:
        return "as it is"


@each_way
def test_each_field_is_read_as_by_its_name(way: Any) -> None:
    other = replace(ACCOUNT, id=AccountId("OTHER"), active=False, opening_micro=-5)
    for field in fields(Account):
        attribute = way.Attribute(Account, field.name)
        for account in (ACCOUNT, other):
            assert attribute.of(account) is getattr(account, field.name)


@each_way
def test_a_record_of_another_class_is_asked_by_the_name(way: Any) -> None:
    attribute = way.Attribute(Account, "plan")
    assert attribute.of(Open("other")) == "other"
    assert attribute.of(Computed()) == "as it is"
    with pytest.raises(AttributeError):
        attribute.of(None)


@each_way
def test_what_was_never_set_is_not_there(way: Any) -> None:
    with pytest.raises(AttributeError):
        way.Attribute(Account, "plan").of(object.__new__(Account))


@each_way
@pytest.mark.parametrize(
    ("owner", "name"),
    [(Open, "plan"), (Open, "since_ms"), (Computed, "plan"), (Account, "nobody"), (int, "real")],
)
def test_what_is_no_slot_is_refused(way: Any, owner: type, name: str) -> None:
    with pytest.raises(TypeError):
        way.Attribute(owner, name)
