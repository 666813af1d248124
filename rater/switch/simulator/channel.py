"""One channel of the simulated switch, and its lines in a manager frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol


class State(IntEnum):
    """Asterisk's channel states, as far as they are used here; the numbers are those in the frames."""

    DOWN = 0
    RING = 4
    RINGING = 5
    UP = 6

    @property
    def text(self) -> str:
        return self.name.capitalize()


CAUSE_TEXT = {
    0: "Unknown",
    1: "Unallocated (unassigned) number",
    16: "Normal Clearing",
    17: "User busy",
    18: "No user responding",
    19: "User alerting, no answer",
    21: "Call Rejected",
    26: "Answered elsewhere",
    27: "Destination out of order",
    34: "Circuit/channel congestion",
    38: "Network out of order",
    50: "Facility not subscribed",
    127: "Interworking, unspecified",
}
CAUSE_UNALLOCATED = 1
CAUSE_NO_ANSWER = 19
CAUSE_INTERWORKING = 127


class Timer(Protocol):
    def cancel(self) -> None: ...


class Agi(Protocol):
    def submit(self, command: str, command_id: str) -> None: ...

    def wake(self) -> None: ...

    def abandon(self) -> None: ...


@dataclass(slots=True, eq=False)
class Channel:
    """`on_hangup` is called with the cause when somebody outside the call ends the channel. `on_timeout` is called
    when its absolute timeout fires; without it the timeout hangs up. `agi`: it waits in AsyncAGI. Times ``_us`` are
    on the world's clock."""

    name: str
    uniqueid: str
    linkedid: str
    state: State
    account_code: str
    caller_number: str
    caller_name: str
    context: str
    exten: str
    created_us: int
    connected_number: str = "<unknown>"
    connected_name: str = "<unknown>"
    priority: int = 1
    application: str = ""
    application_data: str = ""
    bridge: str = ""
    cause: int = 0
    timeout_at_us: int | None = None
    timer: Timer | None = None
    variables: dict[str, str] = field(default_factory=dict)
    alive: bool = True
    agi: Agi | None = None
    on_hangup: Callable[[int], None] | None = None
    on_timeout: Callable[[], None] | None = None

    def lines(self, prefix: str = "") -> str:
        """The fourteen headers that every event about a channel carries."""
        return (
            f"{prefix}Channel: {self.name}\r\n"
            f"{prefix}ChannelState: {int(self.state)}\r\n"
            f"{prefix}ChannelStateDesc: {self.state.text}\r\n"
            f"{prefix}CallerIDNum: {self.caller_number}\r\n"
            f"{prefix}CallerIDName: {self.caller_name}\r\n"
            f"{prefix}ConnectedLineNum: {self.connected_number}\r\n"
            f"{prefix}ConnectedLineName: {self.connected_name}\r\n"
            f"{prefix}Language: en\r\n"
            f"{prefix}AccountCode: {self.account_code}\r\n"
            f"{prefix}Context: {self.context}\r\n"
            f"{prefix}Exten: {self.exten}\r\n"
            f"{prefix}Priority: {self.priority}\r\n"
            f"{prefix}Uniqueid: {self.uniqueid}\r\n"
            f"{prefix}Linkedid: {self.linkedid}\r\n"
        )

    def read(self, variable: str) -> str:
        """A channel variable or one of the few functions that dialplans and managers ask for; "" when unset."""
        known = {
            "CHANNEL(accountcode)": self.account_code,
            "CHANNEL(name)": self.name,
            "CHANNEL(uniqueid)": self.uniqueid,
            "CHANNEL(linkedid)": self.linkedid,
            "CALLERID(num)": self.caller_number,
            "EXTEN": self.exten,
            "CONTEXT": self.context,
            "UNIQUEID": self.uniqueid,
        }
        return known[variable] if variable in known else self.variables.get(variable, "")
