"""One switch: log-in, rights, clocks, version, the gate's dialplan, the heartbeat."""

from __future__ import annotations

import re

from rater.config import SwitchSettings
from rater.doctor.findings import Finding, error, not_checked, ok, warning
from rater.doctor.network import privacy
from rater.doctor.rights import check_rights
from rater.doctor.switch_probe import CONTEXTS, SwitchFacts, exists
from rater.switch.actions import BEAT, FAIL

OLDEST = 16
TRIED = (16, 22)
CLOCK_GOOD_MS, CLOCK_MOST_MS = 1_000, 30_000
"""A price band begins and ends by the minute: half of one is too much."""
BEAT_MOST_S = 3.0
"""Beyond it the dialplan holds the daemon for gone: deploy/asterisk/rater.conf."""
_MAJOR = re.compile(r"(?:certified[-/])?(\d+)\.")


def check_switch(facts: SwitchFacts, settings: SwitchSettings, *, led: bool | None) -> list[Finding]:
    """`led`: whether a daemon leads it; None when that is not known."""
    found = [_privacy(settings), _login(facts, settings)]
    if not facts.logged_in:
        return found
    found += [
        _version(facts, settings),
        *check_rights(facts, settings),
        _timestamps(facts, settings),
        _clock(facts, settings),
        _dangerously(facts, settings),
    ]
    if settings.mode == "gate":
        found += [_async_agi(facts, settings), _dialplan(facts, settings), *_heartbeat(facts, settings, led)]
    return found


def _privacy(settings: SwitchSettings) -> Finding:
    mend = "Set tlsenable=yes in manager.conf and tls = true here, or reach it over a tunnel: docs/asterisk.md."
    return privacy(
        "switch.tls", settings.id, settings.host, tls=settings.tls, what="the manager interface", mend=mend
    )


def _login(facts: SwitchFacts, settings: SwitchSettings) -> Finding:
    check, subject, expected = "switch.login", settings.id, f"the user {settings.user} is let in"
    if facts.logged_in and not facts.failed:
        return ok(check, subject, f"as {settings.user} ({settings.login})", expected)
    if facts.logged_in:
        return error(
            "switch.answers", subject, facts.failed, "every question is answered", "Is the switch overloaded?"
        )
    mend = facts.hint or "Is the switch overloaded, or the network?"
    if not facts.hint and not facts.banner:
        mend = "Is it the manager's port (5038, with TLS 5039), and does tls agree with it?"
        return error(check, subject, f"no greeting of a manager interface: {facts.failed}", expected, mend)
    return error(check, subject, facts.failed, expected, mend)


def _version(facts: SwitchFacts, settings: SwitchSettings) -> Finding:
    check, subject = "switch.version", settings.id
    expected = f"Asterisk {OLDEST} or newer"
    major = _MAJOR.match(facts.version)
    if major is None:
        return not_checked(check, subject, "it does not say (CoreSettings)", "Needs write=reporting.")
    if int(major[1]) < OLDEST:
        return error(check, subject, facts.version, expected, "Upgrade Asterisk.")
    return ok(check, subject, facts.version, expected)


# -- time ----------------------------------------------------------------------------------------------------------


def _timestamps(facts: SwitchFacts, settings: SwitchSettings) -> Finding:
    """FullyBooted after the log-in never carries a time; every real event does, or none."""
    check, subject, expected = "switch.timestamps", settings.id, "timestampevents=yes"
    telling = [event for event in facts.events if event.get("Event") != "FullyBooted" and "ActionID" not in event]
    if not telling:
        why = "no event came while it listened; only events tell"
        return not_checked(check, subject, why, "Place a call under --listen 30, or let the doctor --provoke one.")
    if "Timestamp" in telling[-1]:
        return ok(check, subject, "events carry the switch's time", expected)
    mend = "Set timestampevents=yes in [general] of manager.conf, then: manager reload."
    return error(check, subject, "events carry no time: durations would include delays on the way", expected, mend)


def _clock(facts: SwitchFacts, settings: SwitchSettings) -> Finding:
    check, subject, expected = "switch.clock", settings.id, "within 1 s of this machine's"
    if facts.offset_ms is None:
        return not_checked(check, subject, "its pong carries no time")
    seen = f"{facts.offset_ms / 1000:+.3f} s from this machine's"
    mend = "Keep both clocks right with NTP; the switch's clock says which price band a call is in."
    if abs(facts.offset_ms) > CLOCK_MOST_MS:
        return error(check, subject, seen, expected, mend)
    if abs(facts.offset_ms) > CLOCK_GOOD_MS:
        return warning(check, subject, seen, expected, mend)
    return ok(check, subject, seen, expected)


def _dangerously(facts: SwitchFacts, settings: SwitchSettings) -> Finding:
    check, subject, expected = "switch.dangerously", settings.id, "live_dangerously=no"
    value = facts.value("STAT(e,/)")
    if value is None:
        return not_checked(check, subject, "the user may not read variables")
    if value:
        mend = "Set live_dangerously=no in [options] of asterisk.conf and restart Asterisk."
        seen = "yes: over the manager files can be read and written, and programs run"
        return warning(check, subject, seen, expected, mend)
    return ok(check, subject, "no", expected)


# -- the gate ------------------------------------------------------------------------------------------------------


def _async_agi(facts: SwitchFacts, settings: SwitchSettings) -> Finding:
    check, subject, expected = "switch.async_agi", settings.id, "the module res_agi is loaded"
    if "unknown command" in facts.agi_answer:
        mend = "Load res_agi in modules.conf; the gate's AGI(agi:async) is part of it."
        return error(check, subject, "the switch does not know the action AGI", expected, mend)
    if "exist" not in facts.agi_answer:
        return not_checked(check, subject, f"it answered: {facts.agi_answer or 'nothing'}", "Needs write=agi.")
    return ok(check, subject, "loaded", expected)


def _dialplan(facts: SwitchFacts, settings: SwitchSettings) -> Finding:
    check, subject = "switch.dialplan", settings.id
    expected = f"the contexts {', '.join(CONTEXTS)}"
    values = {context: facts.value(exists(context)) for context in CONTEXTS}
    if None in values.values():
        return not_checked(check, subject, "the user may not ask (Getvar)", "Needs write=call or reporting.")
    missing = [context for context, value in values.items() if value != "1"]
    if not missing:
        return ok(check, subject, "loaded; that your dialplan asks it before Dial, it cannot see", expected)
    mend = 'Put #include "rater.conf" into extensions.conf, then: dialplan reload. Or set mode = "watch".'
    return error(check, subject, f"not there: {', '.join(missing)}", expected, mend)


def _heartbeat(facts: SwitchFacts, settings: SwitchSettings, led: bool | None) -> list[Finding]:
    subject, expected = settings.id, f"a beat younger than {BEAT_MOST_S:g} s while a daemon leads the switch"
    beat, fail = facts.value(BEAT), facts.value(FAIL)
    if beat is None or facts.beat_age_s is None:
        if beat is None:
            return [not_checked("switch.heartbeat", subject, "the user may not read variables")]
        age = "no beat was ever there"
    else:
        age = f"the last beat is {facts.beat_age_s:.0f} s old"
    beats = facts.beat_age_s is not None and abs(facts.beat_age_s) <= BEAT_MOST_S
    found = []
    if beats:
        found.append(ok("switch.heartbeat", subject, age, expected))
    elif led:
        mend = "The daemon cannot decide: it has no catalogue, no Redis or no rights; its log says which."
        found.append(error("switch.heartbeat", subject, f"a daemon leads it, but {age}", expected, mend))
    else:
        mend = "Start rater serve."
        seen = f"{age}: calls go by the rule for its absence"
        found.append(warning("switch.heartbeat", subject, seen, expected, mend))
    return [*found, _fail_rule(fail or "", settings, beats=beats)]


def _fail_rule(fail: str, settings: SwitchSettings, *, beats: bool) -> Finding:
    check, subject, expected = "switch.fail", settings.id, f"{FAIL} is {settings.fail}, as the settings say"
    if fail == settings.fail or (not fail and settings.fail == "closed" and not beats):
        return ok(check, subject, fail or "not set, which means closed", expected)
    mend = f"The daemon sets it when it connects; before its first time, write {FAIL}={settings.fail} in [globals]."
    return warning(check, subject, f"{fail or 'not set'}", expected, mend)
