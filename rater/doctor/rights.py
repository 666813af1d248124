"""What rater needs of the manager user, and what it had better not have."""

from __future__ import annotations

from rater.config import SwitchSettings
from rater.doctor.findings import Finding, error, not_checked, ok, warning
from rater.doctor.switch_probe import SwitchFacts
from rater.switch.adapter import EVENT_MASK

ACTIONS = {
    "CoreStatus": "reporting",
    "CoreShowChannels": "reporting",
    "Setvar": "call",
    "AbsoluteTimeout": "call",
    "Hangup": "call",
}
"""What the daemon uses (rater/switch/adapter.py, actions.py), with the least class that allows it."""
GATE_ACTIONS = {"AGI": "agi"}
WARNING_ACTIONS = {"Originate": "originate"}
EVENT_CLASSES = {"call": "channels, dials, hang-ups", "agi": "the gate's questions", "system": "restarts"}
assert set(EVENT_CLASSES) == set(EVENT_MASK.split(","))
DANGEROUS = {
    "command": "any command of Asterisk's console, and with it of the machine",
    "originate": "calls from nothing, to anywhere, by anybody's account",
    "system": "the dialplan, the database, modules",
    "config": "every configuration file, also this manager.conf",
}


def check_rights(facts: SwitchFacts, settings: SwitchSettings) -> list[Finding]:
    return [
        _write(facts, settings),
        _excess(facts, settings),
        *_read(facts, settings),
        _read_excess(facts, settings),
    ]


def _needed(settings: SwitchSettings) -> dict[str, str]:
    gate = GATE_ACTIONS if settings.mode == "gate" else {}
    return ACTIONS | gate | (WARNING_ACTIONS if settings.warn_before_s else {})


def _write(facts: SwitchFacts, settings: SwitchSettings) -> Finding:
    check, subject = "switch.write", settings.id
    needed = _needed(settings)
    expected = f"write={','.join(sorted(set(needed.values())))}"
    if not facts.actions:
        return not_checked(check, subject, "ListCommands told nothing")
    missing = {action: least for action, least in needed.items() if action not in facts.actions}
    if not missing:
        return ok(check, subject, "may do all that rater does", expected)
    classes = ", ".join(sorted(set(missing.values())))
    mend = f"Add {classes} to write= of [{settings.user}] in manager.conf, then: manager reload."
    if list(missing) == ["AGI"]:
        mend += " With the class there, the module res_agi is not loaded."
    return error(check, subject, f"may not use {', '.join(sorted(missing))}", expected, mend)


def _classes(facts: SwitchFacts) -> set[str]:
    """The write classes that the user certainly has: those that alone allow some action it may use."""
    return {next(iter(classes)) for classes in facts.actions.values() if len(classes) == 1}


def _excess(facts: SwitchFacts, settings: SwitchSettings) -> Finding:
    check, subject = "switch.excess", settings.id
    if not facts.actions:
        return not_checked(check, subject, "ListCommands told nothing")
    classes = _classes(facts)
    more = classes - set(_needed(settings).values()) - {"agi"}
    expected = "no more than rater needs"
    if not more:
        return ok(check, subject, "may do no more than that", expected)
    mend = f"Set write={','.join(sorted(set(_needed(settings).values())))} for [{settings.user}] in manager.conf."
    what = "; ".join(f"{name} ({DANGEROUS[name]})" for name in sorted(more & set(DANGEROUS)))
    seen = f"may also: {what or ', '.join(sorted(more))}"
    if set(DANGEROUS) <= more:
        seen = f"write=all: whoever learns the secret owns the switch; {seen}"
    return warning(check, subject, seen, expected, mend)


# -- events --------------------------------------------------------------------------------------------------------


def _read_classes(facts: SwitchFacts) -> set[str]:
    """Those of which an event came."""
    return {name for event in facts.events for name in event.get("Privilege", "").split(",")} - {"", "all"}


def _read(facts: SwitchFacts, settings: SwitchSettings) -> list[Finding]:
    seen = _read_classes(facts)
    wanted = [name for name in EVENT_CLASSES if name != "agi" or settings.mode == "gate"]
    missing = [name for name in wanted if name not in seen]
    check, subject = "switch.read", settings.id
    expected = f"read={','.join(wanted)}"
    if not missing:
        return [ok(check, subject, f"gets events of {', '.join(wanted)}", expected)]
    found = []
    if "system" in missing:
        mend = f"Add system to read= of [{settings.user}] in manager.conf, then: manager reload."
        found.append(error(check, subject, "no FullyBooted came: a restart would go unseen", expected, mend))
        missing.remove("system")
    if "call" in missing and _provoked_in_vain(facts):
        mend = f"Add call to read= of [{settings.user}], or take DeviceStateChange out of its eventfilter."
        found.append(
            error(check, subject, "no event of the class call comes: no call would be seen", expected, mend)
        )
        missing.remove("call")
    if missing:
        why = f"no event of the class {' or '.join(missing)} came while it listened; that one would is not known"
        mend = "Place a call through the gate under --listen 30" + (
            "." if "call" not in missing else ", or --provoke."
        )
        found.append(not_checked(check, subject, why, mend))
    return found


def _provoked_in_vain(facts: SwitchFacts) -> bool:
    return facts.provoked and "call" not in _read_classes(facts)


def _read_excess(facts: SwitchFacts, settings: SwitchSettings) -> Finding:
    check, subject = "switch.read_excess", settings.id
    more = sorted(_read_classes(facts) - set(EVENT_CLASSES))
    expected = f"read={EVENT_MASK}"
    if not more:
        return ok(check, subject, "no events of other classes came", expected)
    mend = f"Set read={EVENT_MASK} for [{settings.user}]: rater asks for no others, a thief would."
    return warning(check, subject, f"gets events of {', '.join(more)} too", expected, mend)
