"""Whether something listens at an address, and whether strangers could listen on the way."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from rater.config import is_loopback
from rater.doctor.findings import Finding, error, ok, warning

CONNECT_S = 3.0


async def reach(check: str, subject: str, host: str, port: int, what: str) -> Finding:
    """A plain TCP connection, closed again at once."""
    place = f"{host}:{port}"
    expected = f"{what} listens there"
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        mend = "Look at host and port in the settings, at firewalls on the way, and whether the machine is up."
        return error(check, subject, f"{place} does not answer within {CONNECT_S:g} s", expected, mend)
    except ConnectionRefusedError:
        mend = f"Start {what}, or mend host and port in the settings."
        return error(check, subject, f"{place} refuses connections: nothing listens there", expected, mend)
    except socket.gaierror as problem:
        mend = "Mend the host in the settings, or the name service of this machine."
        return error(check, subject, f"the name {host} cannot be looked up: {problem.strerror}", expected, mend)
    except OSError as problem:
        mend = "Look at host and port in the settings, and at this machine's routes."
        return error(check, subject, f"{place} cannot be reached: {problem.strerror or problem}", expected, mend)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return ok(check, subject, f"{place} takes connections", expected)


def privacy(check: str, subject: str, host: str, *, tls: bool, what: str, mend: str) -> Finding:
    """Without TLS only the machine itself is trusted."""
    expected = "TLS, or the loopback"
    if tls:
        return ok(check, subject, "TLS", expected)
    if is_loopback(host):
        return ok(check, subject, f"{host}, the loopback", expected)
    return warning(check, subject, f"{what} crosses the network to {host} in clear text", expected, mend)
