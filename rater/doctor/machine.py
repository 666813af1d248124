"""This machine: its clock, what it lets a process open, the secrets' files, the metrics ports."""

from __future__ import annotations

import asyncio
import ctypes
import http.client
import os
import resource
import socket
import ssl
import stat
import struct
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path

from rater.config import Secret, Settings
from rater.doctor.findings import Finding, error, not_checked, ok, warning
from rater.errors import ConfigError

FILES_NEEDED, FILES_GOOD = 256, 1024
_UNSYNCHRONISED = 0x0040
_CLOCK_ERROR = 5
_TIMEX = struct.Struct("@Illlli")
"""The head of the C library's struct timex: modes, offset, freq, maxerror, esterror, status."""
_TIMESYNCD = Path("/run/systemd/timesync/synchronized")


def check_machine(settings: Settings) -> list[Finding]:
    return [check_clock(), check_files(), *check_secrets(settings)]


def check_clock() -> Finding:
    """As the kernel knows it: whoever disciplines the clock tells the kernel so."""
    check, expected = "machine.clock", "kept by NTP, chrony or the like"
    state = _kernel_clock()
    if state is None:
        return not_checked(check, "", "the kernel does not tell whether anything keeps the clock right")
    code, status, max_error_us = state
    if code == _CLOCK_ERROR or status & _UNSYNCHRONISED:
        if _TIMESYNCD.exists():
            return ok(check, "", "kept by systemd-timesyncd", expected)
        mend = "Run chrony, systemd-timesyncd or ntpd; in a container it is for the host to do, and may be done."
        return warning(check, "", "the kernel says that nothing keeps this clock right", expected, mend)
    return ok(check, "", f"kept right, to within {max_error_us / 1000:.0f} ms", expected)


def _kernel_clock() -> tuple[int, int, int] | None:
    """State, status and largest error (microseconds) by ntp_adjtime(3), which changes nothing when asked so."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "ntp_adjtime"):
        return None
    timex = ctypes.create_string_buffer(512)
    code = libc.ntp_adjtime(timex)
    if code < 0:
        return None
    _, _, _, max_error_us, _, status = _TIMEX.unpack_from(timex)
    return code, status, max_error_us


def check_files() -> Finding:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    check, seen, expected = "machine.files", f"{soft} files may be open at a time", f"{FILES_GOOD} or more"
    mend = "Raise it: LimitNOFILE= in the service's unit, or ulimit -n."
    if soft == resource.RLIM_INFINITY or soft >= FILES_GOOD:
        return ok(check, "", seen if soft >= 0 else "no limit", expected)
    return (error if soft < FILES_NEEDED else warning)(check, "", seen, expected, mend)


# -- secrets -------------------------------------------------------------------------------------------------------


def check_secrets(settings: Settings) -> list[Finding]:
    """Each secret that the settings name: there, and readable by its owner alone."""
    return [finding for where, secret in _secrets(settings) for finding in _secret(where, secret)]


def _secrets(settings: Settings) -> Iterable[tuple[str, Secret]]:
    yield "redis password", settings.redis.password
    for switch in settings.switch:
        yield f"{switch.id} secret", switch.secret
    if settings.mqtt.host is not None:
        yield "mqtt password", settings.mqtt.password
    for hook in settings.webhook:
        yield f"webhook {hook.name} secret", hook.secret
        yield f"webhook {hook.name} previous_secret", hook.previous_secret
    if settings.smtp.host is not None:
        yield "smtp password", settings.smtp.password
    yield "metrics token", settings.metrics.token


def _secret(where: str, secret: Secret) -> Iterable[Finding]:
    check, expected = "machine.secrets", "a file of mode 0600 of the user that runs rater, or a variable"
    if secret.file is None and secret.env is None:
        return
    try:
        text = secret.read()
    except ConfigError as problem:
        yield error(check, where, problem.message, expected, problem.hint)
        return
    place = f"the variable {secret.env}" if secret.env is not None else str(secret.file)
    if not text:
        yield error(check, where, f"{place} is empty", "a secret", "Write the secret there.")
        return
    if secret.file is not None:
        status = secret.file.stat()
        if status.st_uid not in (os.geteuid(), 0):
            seen = f"{place} belongs to the user {status.st_uid}, this is {os.geteuid()}"
            yield warning(check, where, seen, expected, f"Run: chown {os.geteuid()} {place}")
            return
        place += f", mode {stat.S_IMODE(status.st_mode):04o}"
    yield ok(check, where, place, expected)


# -- metrics -------------------------------------------------------------------------------------------------------


async def check_metrics(settings: Settings) -> list[Finding]:
    """That rater can serve its metrics, or does."""
    found = []
    for where, port in (("serve", settings.metrics.port), ("publish", settings.publish.metrics_port)):
        found.append(await asyncio.to_thread(_metrics_port, where, settings.metrics.host, port))
    return found


def _metrics_port(where: str, host: str, port: int | None) -> Finding:
    check, expected = "metrics.port", "free, or served by rater"
    if port is None:
        return ok(check, where, "no metrics are served", "as configured")
    if port == 0:
        return ok(check, where, "any free port", expected)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
        return ok(check, where, f"{host}:{port} is free", expected)
    except OSError as problem:
        if _serves_rater(host, port):
            return ok(check, where, f"rater serves {host}:{port}", expected)
        mend = "Choose another port in the settings, or stop what listens there."
        return error(check, where, f"{host}:{port}: {problem.strerror}, and it is not rater", expected, mend)


def _serves_rater(host: str, port: int) -> bool:
    """Without the token, which is not for whoever may listen there, so that the certificate does not matter."""
    host = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host
    unchecked = ssl.create_default_context()
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    for scheme in ("http", "https"):
        try:
            with urllib.request.urlopen(f"{scheme}://{host}:{port}/metrics", timeout=2, context=unchecked) as reply:
                return b"rater_" in reply.read(1 << 20)
        except urllib.error.HTTPError as refusal:
            return 'realm="rater"' in refusal.headers.get("WWW-Authenticate", "")
        except (OSError, ValueError, http.client.HTTPException):
            continue
    return False
