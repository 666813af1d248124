"""The manager actions of the simulated switch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest

from rater.switch.simulator.channel import Channel
from rater.switch.simulator.filters import BadFilter, parse_filter
from rater.switch.simulator.protocol import Connection, Request
from rater.switch.simulator.world import SECOND_US, World

AMI_VERSION = "11.0.0"
ASTERISK_VERSION = "22.10.1"

Handler = Callable[["Actions", Connection, Request], None]


@dataclass(frozen=True, slots=True)
class Actions:
    world: World
    system_name: str

    def handle(self, client: Connection, request: Request) -> None:
        """Carry out one request of a client that has logged in, and answer it."""
        name = request.get("Action")
        found = _TABLE.get(name.lower())
        if found is None:
            client.error(
                request,
                f"Invalid/unknown command: {name}. Use Action: ListCommands to show available commands.",
            )
            return
        classes, handler = found
        if client.may_write(classes):
            handler(self, client, request)
        else:
            client.error(request, "Permission denied")

    # The connection

    def ping(self, client: Connection, request: Request) -> None:
        client.respond(request, "Success", "Ping: Pong", f"Timestamp: {stamp(self.world.now_us())}")

    def logoff(self, client: Connection, request: Request) -> None:
        client.respond(request, "Goodbye", "Message: Thanks for all the fish.")
        client.close()

    def events(self, client: Connection, request: Request) -> None:
        some = client.set_mask(request.get("EventMask"))
        if some is None:
            client.error(request, "Invalid event mask")
        else:
            client.respond(request, "Success", f"Events: {'On' if some else 'Off'}")

    def filter(self, client: Connection, request: Request) -> None:
        if request.get("Operation").lower() != "add":
            client.error(request, "Unknown operation")
            return
        try:
            client.filters.append(parse_filter(request.get("Filter"), request.get("MatchCriteria")))
        except BadFilter as error:
            client.error(request, str(error))
        else:
            client.success(request, "Success")

    # The switch

    def core_status(self, client: Connection, request: Request) -> None:
        started = time.localtime(self.world.started_us // SECOND_US)
        date, clock = time.strftime("%Y-%m-%d", started), time.strftime("%H:%M:%S", started)
        client.respond(
            request,
            "Success",
            f"CoreStartupDate: {date}",
            f"CoreStartupTime: {clock}",
            f"CoreReloadDate: {date}",
            f"CoreReloadTime: {clock}",
            f"CoreCurrentCalls: {len({channel.linkedid for channel in self.world.live()})}",
            f"CoreProcessedCalls: {self.world.calls_processed}",
        )

    def core_settings(self, client: Connection, request: Request) -> None:
        client.respond(
            request,
            "Success",
            f"AMIversion: {AMI_VERSION}",
            f"AsteriskVersion: {ASTERISK_VERSION}",
            f"SystemName: {self.system_name}",
            "CoreMaxCalls: 0",
            "CoreMaxLoadAvg: 0.000000",
            "CoreRunUser: asterisk",
            "CoreRunGroup: asterisk",
            "CoreMaxFilehandles: 0",
            "CoreRealTimeEnabled: No",
            "CoreCDRenabled: Yes",
            "CoreHTTPenabled: No",
            "SoundsSearchCustomDir: No",
        )

    def command(self, client: Connection, request: Request) -> None:
        command = request.get("Command")
        if command == "core show version":
            output = [f"Asterisk {ASTERISK_VERSION} simulated by rater"]
        elif command == "manager show settings":
            output = ["Timestamp events:                  Yes"]
        else:
            output = [f"No such command '{command}' (type 'core show help {command}' for other possible commands)"]
        lines = [f"Output: {line}" for line in output]
        client.respond(request, "Success", "Message: Command output follows", *lines)

    def core_show_channels(self, client: Connection, request: Request) -> None:
        identity = request.get("ActionID")
        tag = f"ActionID: {identity}\r\n" if identity else ""
        client.respond(request, "Success", "EventList: start", "Message: Channels will follow")
        channels = list(self.world.live())
        now_us = self.world.now_us()
        for channel in channels:
            client.write(f"Event: CoreShowChannel\r\n{tag}{_listed(channel, now_us)}\r\n")
        client.write(
            f"Event: CoreShowChannelsComplete\r\n{tag}EventList: Complete\r\nListItems: {len(channels)}\r\n\r\n"
        )

    # Variables

    def getvar(self, client: Connection, request: Request) -> None:
        name, channel_name = request.get("Variable"), request.get("Channel")
        if not name:
            client.error(request, "No variable specified")
            return
        if channel_name:
            channel = self.world.find(channel_name)
            if channel is None:
                client.error(request, "No such channel")
                return
            value = channel.read(name)
        elif name == "EPOCH":
            value = str(self.world.now_us() // SECOND_US)
        else:
            value = self.world.globals.get(name, "")
        client.respond(request, "Success", f"Variable: {name}", f"Value: {value}")

    def setvar(self, client: Connection, request: Request) -> None:
        name, value = request.get("Variable"), request.get("Value")
        if not name:
            client.error(request, "No variable specified")
            return
        channel_name = request.get("Channel")
        channel = self.world.find(channel_name) if channel_name else None
        if channel_name and channel is None:
            client.error(request, "No such channel")
            return
        client.success(request, "Variable Set")
        for each, its_value in _assigned(name, value):
            if channel is not None:
                channel.variables[each] = its_value
                about = channel.lines()
            else:
                self.world.globals[each.removeprefix("GLOBAL(").removesuffix(")")] = its_value
                about = "Channel: none\r\nUniqueid: none\r\n"
            self.world.emit("VarSet", f"{about}Variable: {each}\r\nValue: {its_value}\r\n", category="dialplan")

    # Channels

    def absolute_timeout(self, client: Connection, request: Request) -> None:
        channel = self._channel(client, request)
        if channel is None:
            return
        try:
            seconds = float(request.get("Timeout"))
        except ValueError:
            seconds = 0.0
        if seconds <= 0:
            client.error(request, "No timeout specified")
            return
        self.world.set_timeout(channel, seconds)
        if channel.agi is not None:
            channel.agi.wake()
        client.success(request, "Timeout Set")

    def hangup(self, client: Connection, request: Request) -> None:
        channel = self._channel(client, request)
        if channel is None:
            return
        cause = request.get("Cause")
        client.success(request, "Channel Hungup")
        self.world.hang_up(channel, int(cause) if cause.isdecimal() and int(cause) < 128 else 0)

    def agi(self, client: Connection, request: Request) -> None:
        name, command = request.get("Channel"), request.get("Command")
        if not name or not command:
            client.error(request, "Both, Channel and Command are *required*")
            return
        channel = self.world.find(name)
        if channel is None:
            client.error(request, f"Channel {name} does not exist.")
        elif channel.agi is None:
            client.error(request, f"Failed to add AGI command to channel {channel.name} queue")
        else:
            client.success(request, "Added AGI command to queue")
            channel.agi.submit(command, request.get("CommandID"))

    def _channel(self, client: Connection, request: Request) -> Channel | None:
        name = request.get("Channel")
        if not name:
            client.error(request, "No channel specified")
            return None
        channel = self.world.find(name)
        if channel is None:
            client.error(request, "No such channel")
        return channel


def stamp(at_us: int) -> str:
    """Seconds since the epoch with six decimals, as Asterisk writes a Timestamp."""
    return f"{at_us // SECOND_US}.{at_us % SECOND_US:06d}"


def _assigned(name: str, value: str) -> list[tuple[str, str]]:
    """The variables that an assignment sets: of `ARRAY(A,B)` each has its part of the value, or none (Asterisk,
    function ARRAY). Values in quotation marks are not known here."""
    if not (name.startswith("ARRAY(") and name.endswith(")")):
        return [(name, value)]
    names = name[6:-1].split(",")
    return list(zip_longest(names, value.split(",")[: len(names)], fillvalue=""))


def _listed(channel: Channel, now_us: int) -> str:
    minutes, seconds = divmod((now_us - channel.created_us) // SECOND_US, 60)
    hours, minutes = divmod(minutes, 60)
    return (
        f"{channel.lines()}Application: {channel.application}\r\nApplicationData: {channel.application_data}\r\n"
        f"Duration: {hours:02d}:{minutes:02d}:{seconds:02d}\r\nBridgeId: {channel.bridge}\r\n"
    )


_ANYBODY: frozenset[str] = frozenset()
_TABLE: dict[str, tuple[frozenset[str], Handler]] = {
    "ping": (_ANYBODY, Actions.ping),
    "logoff": (_ANYBODY, Actions.logoff),
    "events": (_ANYBODY, Actions.events),
    "filter": (frozenset({"system"}), Actions.filter),
    "corestatus": (frozenset({"system", "reporting"}), Actions.core_status),
    "coresettings": (frozenset({"system", "reporting"}), Actions.core_settings),
    "coreshowchannels": (frozenset({"system", "reporting"}), Actions.core_show_channels),
    "command": (frozenset({"command"}), Actions.command),
    "getvar": (frozenset({"call", "reporting"}), Actions.getvar),
    "setvar": (frozenset({"call"}), Actions.setvar),
    "absolutetimeout": (frozenset({"call", "system"}), Actions.absolute_timeout),
    "hangup": (frozenset({"call", "system"}), Actions.hangup),
    "agi": (frozenset({"agi"}), Actions.agi),
}
