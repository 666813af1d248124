"""Automata beside `re`, over the patterns that they are made of: countries' tables and dial plans' rules."""

from __future__ import annotations

import random
import re

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rater.errors import InputError
from rater.rating.automaton import SYMBOLS, Automaton, NotPlain, Pattern, group_start, read_pattern
from rater.rating.normalise import OwnAction, OwnRule, asterisk_pattern
from rater.rating.normalise_brazil import BrazilOptions, brazil_rules
from rater.rating.normalise_presets import E164, FRANCE, NANP, PRESETS, TURKEY, DialPlanSettings, dial_plan
from rater.rating.reading import Reading, Rule

RULES = [*E164, *FRANCE, *TURKEY, *NANP, *brazil_rules(BrazilOptions()), *brazil_rules(BrazilOptions(csp=False))]
_FIELDS = (
    "general_desc", "fixed_line", "mobile", "premium_rate", "toll_free", "shared_cost", "voip", "personal_number",
    "pager", "uan", "voicemail",
)  # fmt: skip


def _tables() -> list[tuple[str, ...]]:
    """The patterns of each region."""
    found = []
    for code, names in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        for name in names:
            metadata = phonenumbers.PhoneMetadata.metadata_for_region_or_calling_code(code, name)
            ranges = [getattr(metadata, field) for field in _FIELDS] if metadata is not None else []
            patterns = [each.national_number_pattern for each in ranges if each is not None]
            found.append(tuple(pattern for pattern in patterns if pattern))
    return found


TABLES = _tables()


def _like(pattern: str, rng: random.Random) -> str:
    """A text that the pattern matches, by the way in which it is read."""

    def of(part: object) -> str:
        assert isinstance(part, type(read_pattern("")))
        most = part.least + 3 if part.most is None else part.most
        texts = []
        for _ in range(rng.randint(part.least, most)):
            if part.one_of:
                texts.append(rng.choice(part.one_of))
            elif part.either:
                texts.append(of(rng.choice(part.parts)))
            else:
                texts.append("".join(of(each) for each in part.parts))
        return "".join(texts)

    return of(read_pattern(pattern))


def _nearby(text: str, rng: random.Random, symbols: str) -> list[str]:
    """The text, and what differs a little from it."""
    at = rng.randrange(len(text) + 1)
    other = rng.choice(symbols)
    return [text, text[:-1], text + other, text[:at] + other + text[at + 1 :], text[:at] + other, text[1:]]


def _expect_same(patterns: tuple[str, ...], text: str, automaton: Automaton) -> None:
    whole = sum(1 << place for place, pattern in enumerate(patterns) if re.fullmatch(pattern, text))
    begins = sum(1 << place for place, pattern in enumerate(patterns) if re.match(pattern, text))
    assert automaton.whole("7" + text, 1) == whole, text
    assert automaton.beginning("7" + text, 1) == begins, text


@pytest.mark.parametrize("patterns", TABLES, ids=lambda patterns: str(TABLES.index(patterns)))
def test_ranges_of_a_country(patterns: tuple[str, ...]) -> None:
    rng = random.Random(1)
    automaton = Automaton(patterns)
    for pattern in patterns:
        assert re.fullmatch(pattern, _like(pattern, rng))
        for _ in range(10):
            for text in _nearby(_like(pattern, rng), rng, "0123456789"):
                _expect_same(patterns, text, automaton)


_PLAIN = tuple(rule.pattern.text for rule in RULES if rule.pattern.plain)


def test_which_rules_are_asked_one_by_one() -> None:
    """Those that look ahead, all of North America."""
    assert {rule.pattern.text for rule in RULES if not rule.pattern.plain} == {
        rule.pattern.text for rule in NANP if "(?" in rule.pattern.text.replace("(?:", "")
    }


@pytest.mark.parametrize("pattern", sorted(set(_PLAIN)))
def test_rules_of_dial_plans(pattern: str) -> None:
    rng = random.Random(2)
    automaton = Automaton((pattern,))
    for _ in range(100):
        for text in _nearby(_like(pattern, rng), rng, SYMBOLS):
            _expect_same((pattern,), text, automaton)


@pytest.mark.parametrize("pattern", sorted(set(_PLAIN)))
def test_the_group_of_a_rule(pattern: str) -> None:
    start = group_start(pattern)
    rng = random.Random(3)
    for _ in range(100):
        text = _like(pattern, rng)
        match = re.fullmatch(pattern, text)
        assert match is not None
        assert start is None or match[1] == text[start:]


def test_where_groups_begin() -> None:
    known = (r"00([1-9][0-9]*)", r"([1-9][0-9]*)", r"0((?:26[23]|69)[0-9]{6})")
    assert [group_start(pattern) for pattern in known] == [2, 0, 1]
    differs = (r"0?(8[0-9])", r"0(8)0", r"(0)(8)", r"(8)?", r"0([1-9])?", r"(?:0(8))", r"08", r"0|(8)")
    assert [group_start(pattern) for pattern in differs] == [None, None, None, None, None, 1, None, None]


_PARTS = st.sampled_from(["0", "1", r"\d", "[2-5]", "[13-59]", "#", r"\*", r"\+", "[*#]"])
_PATTERNS = st.recursive(
    _PARTS,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda found: f"(?:{'|'.join(found)})"),
        st.builds(
            "(?:{}){}".format, inner, st.sampled_from(["?", "*", "+", "{2}", "{1,3}", "{0,2}", "{0}", "{3}"])
        ),
        inner.map("({})".format),
    ),
    max_leaves=8,
)


@given(
    st.lists(_PATTERNS, min_size=1, max_size=4), st.lists(st.text("0123459*#+", max_size=8), max_size=5), st.data()
)
def test_any_plain_pattern(patterns: list[str], texts: list[str], data: st.DataObject) -> None:
    automaton = Automaton(patterns)
    rng = random.Random(data.draw(st.integers(0, 1000)))
    for text in [*texts, *(_like(pattern, rng) for pattern in patterns)]:
        _expect_same(tuple(patterns), text, automaton)


@given(st.text(st.sampled_from("01359d\\[](){}?*+|:,-#^$.="), max_size=10), st.text("01359#*+", max_size=6))
def test_what_it_reads_of_any_text_is_what_re_reads(pattern: str, text: str) -> None:
    try:
        automaton = Automaton((pattern,))
    except NotPlain:
        return
    _expect_same((pattern,), text, automaton)


@pytest.mark.parametrize(
    "pattern", [r"(?=8)8", r"(?!.11)1", "1.", "^1", r"1$", r"(1)\1", "[^1]", "1**", "a", "[5-3]", "(1"]
)
def test_what_is_not_plain(pattern: str) -> None:
    with pytest.raises(NotPlain):
        Automaton((pattern,))


def test_other_symbols_are_left_to_re() -> None:
    arabic = "\u0661"
    assert Automaton((r"\d",)).whole(arabic) == Automaton((r"\d",)).beginning(arabic) == -1
    assert Pattern(r"\d").whole(arabic)
    assert Pattern(r"\d").begins(arabic)
    assert not Pattern(r"[0-9]").whole(arabic)


@given(st.text(st.sampled_from("XZN0123456789*#.[]-!+"), max_size=8), st.text("0123456789*#+", max_size=9))
def test_patterns_of_an_operators_own_rules(match: str, number: str) -> None:
    try:
        pattern = asterisk_pattern(match)
    except InputError:
        return
    assert Pattern(pattern).plain
    _expect_same((pattern,), number, Automaton((pattern,)))


def _one_by_one(rules: list[Rule], number: str, area: str) -> tuple[object, str, list[str]]:
    """As rules read that are all asked, by `re`."""
    reading = Reading(number, number, area, 1_790_000_000_000, [])
    for rule in rules:
        outcome = rule.apply(reading) if re.fullmatch(rule.pattern.text, reading.number) else None
        if outcome is not None:
            return outcome, reading.number, reading.steps
    return None, reading.number, reading.steps


@pytest.mark.parametrize("preset", PRESETS)
@settings(deadline=None)
@given(data=st.data())
def test_rules_held_together_read_as_one_by_one(preset: str, data: st.DataObject) -> None:
    own = [
        OwnRule("nine", "9.", strip=1),
        OwnRule("stars", "*X!", OwnAction.SERVICE, destination_class="service"),
        OwnRule("never", "00[2-4]ZX.", OwnAction.DENY),
    ]
    plan = dial_plan(DialPlanSettings("t", preset, rules=tuple(own)))
    rng = random.Random(data.draw(st.integers(0, 10_000)))
    patterns = [rule.pattern.text for rules in (plan.own, plan.preset) for rule in rules if rule.pattern.plain]
    number = data.draw(
        st.one_of(
            st.text("0123456789", min_size=3, max_size=15),
            st.text("0123456789*#+", min_size=1, max_size=15),
            st.sampled_from(patterns).map(lambda pattern: _like(pattern, rng)),
            st.sampled_from(["1", "+1", "011", ""]).map(lambda lead: f"{lead}{rng.randrange(2 * 10**9, 10**10)}"),
        )
    )
    area = data.draw(st.sampled_from(["", "11", "212"]))
    for rules in (plan.own, plan.preset):
        reading = Reading(number, number, area, 1_790_000_000_000, [])
        outcome = rules.read(reading)
        assert (outcome, reading.number, reading.steps) == _one_by_one(list(rules), number, area)
