"""Asks a switch what the checks want to know, with no more rights than rater needs.

Nothing is changed, but for `provoke`: it sets the custom device state ``rater-doctor``, so that the switch sends an
event of the class call. All else is reading. What was found out on Asterisk 16 and 22:

- ListCommands needs no right and names just the actions that the user may use, each with the classes that allow it.
- After the log-in FullyBooted is sent to those with ``read=system``, SuccessfulAuth with ``read=security``.
- Getvar evaluates functions without a channel: DIALPLAN_EXISTS tells whether a context is there, and ``STAT(e,/)``
  has a value only under ``live_dangerously``.
- An AGI action for a channel that does not exist fails with another message when res_agi is not loaded.
"""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from rater.config import SwitchSettings
from rater.doctor.manager import Manager, visit
from rater.errors import LoginRefused, SwitchUnavailable
from rater.switch.actions import BEAT, FAIL
from rater.switch.ami import log_in
from rater.switch.ami_parse import Frame
from rater.switch.stamps import parse_timestamp

CONTEXTS = ("rater-gate", "rater-gate-in", "rater-ask")
NO_CHANNEL = "rater-doctor/none"
BOOTED_S, PROVOKED_S = 0.5, 2.0
_PRIVILEGES = re.compile(r"\(Priv: ([^)]*)\)\s*$")


@dataclass(slots=True)
class SwitchFacts:
    """What one switch told. `failed`: why it told no more. `actions`: what the user may
    do, with the classes of which one suffices. `variables`: None where the user may not ask."""

    banner: str = ""
    failed: str = ""
    hint: str = ""
    logged_in: bool = False
    version: str = ""
    actions: Mapping[str, frozenset[str]] = field(default_factory=dict)
    events: list[Frame] = field(default_factory=list)
    offset_ms: float | None = None
    """The switch's clock less ours."""
    asked_s: float = 0.0
    """Our clock when the variables were asked for."""
    variables: dict[str, str | None] = field(default_factory=dict)
    agi_answer: str = ""
    provoked: bool = False
    """The switch took what should make it send an event."""

    @property
    def beat_age_s(self) -> float | None:
        """By the switch's own clock; None without a beat."""
        beat = self.variables.get(BEAT) or ""
        if self.offset_ms is None or not beat.isdigit():
            return None
        return self.asked_s + self.offset_ms / 1000 - int(beat)

    def value(self, variable: str) -> str | None:
        return self.variables.get(variable)


async def probe(settings: SwitchSettings, secret: str, *, listen_s: float, provoke: bool) -> SwitchFacts:
    facts = SwitchFacts()
    try:
        async with visit(settings) as manager:
            try:
                await log_in(settings, secret, manager.request, events="on")
                facts.logged_in = True
                await _ask(manager, facts)
                if provoke:
                    facts.provoked = await _provoke(manager)
                await manager.listen(listen_s)
            finally:
                facts.banner, facts.events = manager.banner, manager.events
    except (LoginRefused, SwitchUnavailable) as problem:
        facts.failed, facts.hint = problem.message, problem.hint
    except ssl.SSLCertVerificationError as problem:
        facts.failed = f"its certificate is not trusted: {problem.verify_message}"
        facts.hint = "Name the authority that signed it, tls_ca = …, and write host as the certificate does."
    except FileNotFoundError:
        facts.failed, facts.hint = f"there is no file {settings.tls_ca}", "Mend tls_ca in the settings."
    except (OSError, TimeoutError) as problem:
        facts.failed = str(problem) or f"no connection in time ({type(problem).__name__})"
    return facts


async def _ask(manager: Manager, facts: SwitchFacts) -> None:
    await manager.listen(BOOTED_S, enough="FullyBooted")
    facts.actions = _allowed(await manager.request("ListCommands"))
    before_s = time.time()
    pong = await manager.request("Ping")
    stamp_ms = parse_timestamp(pong.get("Timestamp", ""))
    if stamp_ms is not None:
        facts.offset_ms = stamp_ms - (before_s + time.time()) / 2 * 1000
    facts.version = (await manager.request("CoreSettings")).get("AsteriskVersion", "")
    facts.asked_s = time.time()
    for variable in (BEAT, FAIL, "STAT(e,/)", *(exists(context) for context in CONTEXTS)):
        answer = await manager.request("Getvar", Variable=variable)
        facts.variables[variable] = answer.get("Value", "") if answer.get("Response") == "Success" else None
    facts.agi_answer = (await manager.request("AGI", Channel=NO_CHANNEL, Command="NOOP")).get("Message", "")


def exists(context: str) -> str:
    return f"DIALPLAN_EXISTS({context},s,1)"


async def _provoke(manager: Manager) -> bool:
    """An event is sent only when the state changes. False when the switch would not."""
    for state in ("INUSE", "NOT_INUSE"):
        answer = await manager.request("Setvar", Variable="DEVICE_STATE(Custom:rater-doctor)", Value=state)
        if answer.get("Response") != "Success":
            return False
    await manager.listen(PROVOKED_S, enough="DeviceStateChange")
    return True


def _allowed(listing: Frame) -> dict[str, frozenset[str]]:
    actions = {}
    for name, text in listing.items():
        privileges = _PRIVILEGES.search(text)
        if privileges is not None:
            actions[name] = frozenset(privileges[1].split(",")) - {"all", "<none>"}
    return actions
