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
    28: "Invalid number format (address incomplete)",
    34: "Circuit/channel congestion",
    38: "Network out of order",
    50: "Facility not subscribed",
    127: "Interworking, unspecified",
}
CAUSE_NORMAL = 16
CAUSE_BUSY = 17
CAUSE_NO_ANSWER = 19
CAUSE_CONGESTION = 34
CAUSE_INTERWORKING = 127
SIP_STATUS = {1: "404", 17: "486", 19: "480", 21: "403", 28: "484", 34: "503"}
"""The SIP response behind a Q.850 cause, which events give as TechCause."""
SIP_CANCELLED = "487"


class Timer(Protocol):
    def cancel(self) -> None: ...


class Agi(Protocol):
    def submit(self, command: str, command_id: str) -> None: ...

    def wake(self) -> None: ...

    def abandon(self) -> None: ...


@dataclass(slots=True, eq=False)
class Channel:
    """`on_hangup` is called with the cause when somebody outside the call ends the channel. `on_timeout` is called
    when its absolute timeout fires; without it the timeout hangs up. `agi`: it waits in AsyncAGI. `shown`: the
    variables that every event about it carries. `peer_account`: the account code of whoever sent it elsewhere.
    Times ``_us`` are on the world's clock."""

    name: str
    uniqueid: str
    linkedid: str
    state: State
    account_code: str
    caller_number: str
    caller_name: str
    context: str
    exten: str
    dnid: str
    shown: tuple[str, ...]
    created_us: int
    connected_number: str = "<unknown>"
    connected_name: str = "<unknown>"
    priority: int = 1
    application: str = ""
    application_data: str = ""
    bridge: str = ""
    peer_account: str = ""
    cause: int = 0
    tech_cause: str = ""
    timeout_at_us: int | None = None
    timer: Timer | None = None
    variables: dict[str, str] = field(default_factory=dict)
    alive: bool = True
    agi: Agi | None = None
    on_hangup: Callable[[int], None] | None = None
    on_timeout: Callable[[], None] | None = None

    def lines(self, prefix: str = "") -> str:
        """The fourteen headers that every event about a channel carries, and the variables shown."""
        shown = "".join(f"{prefix}ChanVariable: {name}={self.variables.get(name, '')}\r\n" for name in self.shown)
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
            f"{prefix}Linkedid: {self.linkedid}\r\n{shown}"
        )

    def tech_line(self) -> str:
        """The header that events about its end carry when SIP gave a reason."""
        return f"TechCause: {self.tech_cause}\r\n" if self.tech_cause else ""

    @property
    def device(self) -> str:
        """Its name without the number: whose channel it is."""
        return self.name.rpartition("-")[0]

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
