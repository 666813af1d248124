"""Whether Redis is there, loses no money, and answers in time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rater.charging.scripts import library
from rater.config import RedisSettings, is_loopback
from rater.doctor.embedded import check_room
from rater.doctor.findings import Finding, error, not_checked, ok, warning
from rater.doctor.network import privacy
from rater.doctor.redis_probe import RedisFacts

LATENCY_GOOD_MS = 2.0
CLOCK_GOOD_MS = 1000.0
DISK_GOOD_MS = 100
MEMORY_GOOD = 0.8
LEAST, RECOMMENDED = (6, 2), (7, 0)
MENDED = {(6, 2): 20, (7, 0): 15, (7, 2): 11, (7, 4): 6, (8, 0): 4, (8, 2): 2}
"""By branch, the version from which CVE-2025-49844 (code runs out of a Lua script) is mended. 7.0 was mended by the
distributions only."""
_WRITES_FAIL = {
    "OOM": "Raise maxmemory; never let an eviction policy delete keys.",
    "READONLY": "Name the master in [redis] url, not a replica.",
    "MISCONF": "Redis cannot write its files: make room on its disk, and look at its log.",
    "NOREPLICAS": "min-replicas-to-write asks for more replicas than are there: mend the replicas.",
    "NOPERM": "Give the user +@all -@admin -@dangerous on the keys ~PREFIX:* and the channels &PREFIX:*.",
}


def check_redis(facts: RedisFacts, settings: RedisSettings, host: str, *, tls: bool) -> list[Finding]:
    """`host`: empty for a Unix socket. Of a cluster only what concerns the whole; its nodes: `check_node`."""
    found = [
        *([] if settings.cluster else [_role(facts), *check_node(facts, embedded=settings.url is None)]),
        _write(facts),
        *_latency(facts, settings.timeout_ms),
        _clock(facts),
        *_cluster(facts),
    ]
    if host:
        found += [_user(facts, host), _privacy(host, tls=tls)]
        if is_loopback(host) and facts.config.get("dir") and Path(facts.config["dir"]).is_dir():
            found.append(check_room("redis.room", "", Path(facts.config["dir"])))
    return found


def check_node(facts: RedisFacts, *, master: bool = True, embedded: bool = False) -> list[Finding]:
    """How one server is kept. A replica's own replicas are nobody's concern."""
    return [
        _version(facts, embedded=embedded),
        _append_only(facts),
        _fsync(facts),
        _eviction(facts),
        *_files_state(facts),
        _disk(facts),
        _memory(facts),
        *([_replicas(facts, embedded=embedded), *_functions(facts)] if master else []),
        *_coverage(facts),
    ]


def _version(facts: RedisFacts, *, embedded: bool) -> Finding:
    check, text = "redis.version", str(facts.info.get("redis_version", ""))
    expected = "6.2 or newer, mended; 7 in production"
    try:
        major, minor, patch = (int(part) for part in text.split(".")[:3])
    except ValueError:
        return not_checked(check, "", f"INFO tells no version ({text!r})", "Allow the user INFO.")
    if (major, minor) < LEAST:
        return error(check, "", text, expected, "Install a newer Redis: its streams lack what rater uses.")
    if embedded:
        return ok(check, "", f"{text}, embedded, on a socket of its own", "6.2 or newer")
    branch = max((known for known in MENDED if known <= (major, minor)), default=LEAST)
    if branch == (major, minor) and patch < MENDED[branch]:
        mend = f"Upgrade to {major}.{minor}.{MENDED[branch]} or newer, or Debian's 7.0.15-1~deb12u10."
        return warning(check, "", f"{text} has known holes in its scripts (CVE-2025-49844)", expected, mend)
    if (major, minor) < RECOMMENDED:
        return warning(check, "", text, expected, "Plan for Redis 7: it counts a consumer's lag itself.")
    note = "; see that the distribution's own number is deb12u10 or newer" if (major, minor) == (7, 0) else ""
    return ok(check, "", text + note, expected)


def _role(facts: RedisFacts) -> Finding:
    role = str(facts.info.get("role", ""))
    if not role:
        return not_checked("redis.role", "", "INFO is refused", "Allow the user INFO.")
    if role != "master":
        mend = "Name the master in [redis] url; a replica takes no charges."
        return error("redis.role", "", role, "master", mend)
    return ok("redis.role", "", role)


# -- what loses money ----------------------------------------------------------------------------------------------


def _append_only(facts: RedisFacts) -> Finding:
    check, expected = "redis.append_only", "on: every change is in a file before it is answered for"
    enabled = facts.info.get("aof_enabled")
    if enabled is None:
        return not_checked(check, "", "INFO is refused", "Allow the user INFO, or look at appendonly yourself.")
    if not enabled:
        mend = "Set appendonly yes in redis.conf (at run time: CONFIG SET appendonly yes, then CONFIG REWRITE)."
        return error(check, "", "off: a restart loses every charge since the last snapshot", expected, mend)
    return ok(check, "", "on", expected)


def _fsync(facts: RedisFacts) -> Finding:
    check, expected = "redis.fsync", "everysec (a power cut loses a second at most) or always (it loses nothing)"
    value = facts.config.get("appendfsync")
    if value is None:
        why = "the user may not ask with CONFIG, as it should be"
        return not_checked(check, "", why, "Look at appendfsync in redis.conf: everysec or always.")
    if value not in ("everysec", "always"):
        mend = "Set appendfsync everysec or always."
        return error(check, "", f"{value}: when the file is written is left to the system", expected, mend)
    return ok(check, "", value, expected)


def _eviction(facts: RedisFacts) -> Finding:
    check, expected = "redis.eviction", "noeviction"
    policy = str(facts.info.get("maxmemory_policy", ""))
    if not policy:
        return not_checked(check, "", "INFO is refused", "Look at maxmemory-policy in redis.conf: noeviction.")
    if policy != expected:
        mend = "Set maxmemory-policy noeviction."
        return error(check, "", f"{policy}: short of memory, balances would be deleted", expected, mend)
    return ok(check, "", policy, expected)


def _files_state(facts: RedisFacts) -> list[Finding]:
    """What went wrong when Redis last wrote its files."""
    names = {
        "aof_last_write_status": "the last write to the append-only file",
        "aof_last_bgrewrite_status": "the last rewriting of it",
    }
    bad = [what for name, what in names.items() if facts.info.get(name, "ok") != "ok"]
    if bad:
        mend = "Look at Redis' log and its disk; until it is mended, writes may be refused."
        return [error("redis.files", "", f"failed: {', '.join(bad)}", "no failures", mend)]
    return [ok("redis.files", "", "written without failures")] if facts.info else []


def _disk(facts: RedisFacts) -> Finding:
    """With `appendfsync always` each answer waits for the disk; with everysec only when it is late by seconds."""
    check, expected = "redis.disk", f"no wait for its files of more than {DISK_GOOD_MS} ms"
    watched = facts.config.get("latency-monitor-threshold")
    look = "Look at CONFIG GET latency-monitor-threshold and LATENCY LATEST on the server."
    if watched == "0":
        mend = "CONFIG SET latency-monitor-threshold 10 costs nothing that can be measured; ask again in an hour."
        return not_checked(check, "", "the server does not watch it (latency-monitor-threshold 0)", mend)
    if watched is None or facts.waits_ms is None:
        return not_checked(check, "", "the user may not ask with CONFIG and LATENCY, as it should be", look)
    waits_ms = {kind: longest for kind, longest in facts.waits_ms.items() if kind.startswith("aof-")}
    if not waits_ms:
        return ok(check, "", f"none of {watched} ms or more", expected)
    kind, longest_ms = max(waits_ms.items(), key=lambda wait: wait[1])
    seen = f"up to {longest_ms} ms ({kind}); LATENCY HISTORY {kind} tells when"
    if longest_ms <= DISK_GOOD_MS:
        return ok(check, "", seen, expected)
    mend = "Calls wait as long: give Redis a disk of its own that writes steadily; LATENCY RESET begins anew."
    return warning(check, "", seen, expected, mend)


def _memory(facts: RedisFacts) -> Finding:
    check = "redis.memory"
    used, limit = int(facts.info.get("used_memory", 0)), int(facts.info.get("maxmemory", 0))
    system = int(facts.info.get("total_system_memory", 0))
    if not used:
        return not_checked(check, "", "INFO is refused", "Allow the user INFO.")
    most = limit or system
    expected = f"less than {MEMORY_GOOD:.0%} of it"
    seen = f"{used / (1 << 20):.0f} MiB used of {most / (1 << 20):.0f}" + ("" if limit else " in the machine")
    if most and used > MEMORY_GOOD * most:
        mend = "Give Redis more memory (maxmemory); when it is full, no call is allowed."
        return warning(check, "", seen, expected, mend)
    return ok(check, "", seen, expected)


def _replicas(facts: RedisFacts, *, embedded: bool) -> Finding:
    check, expected = "redis.replicas", "one or more where it matters, and min-replicas-to-write 1"
    if not facts.info:
        return not_checked(check, "", "INFO is refused", "Allow the user INFO.")
    if embedded:
        return ok(check, "", "none: the embedded server is alone")
    count = int(facts.info.get("connected_slaves", 0))
    least = facts.config.get("min-replicas-to-write")
    if not count:
        return ok(check, "", "none: what one disk holds is all there is", expected)
    if least == "0":
        mend = "Set min-replicas-to-write 1: a master cut off from its replicas then takes no charges to lose."
        return warning(check, "", f"{count}, and min-replicas-to-write is 0", expected, mend)
    return ok(check, "", f"{count}; min-replicas-to-write is {least or 'not to be seen'}", expected)


def _functions(facts: RedisFacts) -> list[Finding]:
    """Each version of rater loads a library of its own and leaves it there."""
    check, expected = "redis.functions", "no library of another version"
    if facts.libraries is None:
        return []
    others = [name for name in facts.libraries if name != library()[0]]
    if not others:
        return [ok(check, "", "none of another version", expected)]
    mend = (
        f"When no daemon of their version runs any more: FUNCTION DELETE {others[0]}. One that does loads it again."
    )
    return [warning(check, "", f"of other versions: {', '.join(others)}", expected, mend)]


def _write(facts: RedisFacts) -> Finding:
    check, expected = "redis.write", "a script can write under the prefix"
    if not facts.write_error:
        return ok(check, "", "a script can write", expected)
    mend = next((mend for code, mend in _WRITES_FAIL.items() if code in facts.write_error), "See Redis' log.")
    return error(check, "", facts.write_error, expected, mend)


# -- speed, time, order --------------------------------------------------------------------------------------------


def _latency(facts: RedisFacts, timeout_ms: int) -> list[Finding]:
    found = []
    for check, value_ms in (("redis.ping", facts.ping_ms), ("redis.script", facts.script_ms)):
        expected = f"under {LATENCY_GOOD_MS:g} ms"
        mend = "Put Redis nearer, or on a machine with less to do; each call waits for it several times."
        if value_ms is None:
            found.append(not_checked(check, "", "it was refused or broke off"))
        elif value_ms > timeout_ms:
            seen = f"{value_ms:.1f} ms, beyond [redis] timeout_ms = {timeout_ms}"
            found.append(error(check, "", seen, expected, mend))
        elif value_ms > LATENCY_GOOD_MS:
            found.append(warning(check, "", f"{value_ms:.2f} ms", expected, mend))
        else:
            found.append(ok(check, "", f"{value_ms:.2f} ms", expected))
    return found


def _clock(facts: RedisFacts) -> Finding:
    check, expected = "redis.clock", f"within {CLOCK_GOOD_MS / 1000:g} s of this machine's"
    if facts.clock_ms is None:
        return not_checked(check, "", "TIME is refused", "Allow the user TIME.")
    seen = f"{facts.clock_ms / 1000:+.3f} s from this machine's"
    if abs(facts.clock_ms) > CLOCK_GOOD_MS:
        return warning(check, "", seen, expected, "Keep both machines' clocks right with NTP.")
    return ok(check, "", seen, expected)


def _cluster(facts: RedisFacts) -> list[Finding]:
    if not facts.info.get("cluster_enabled"):
        return []
    state, covered = facts.cluster.get("cluster_state"), facts.cluster.get("cluster_slots_ok", "0")
    seen, expected = f"state {state or 'unknown'}, {covered} slots served", "state ok, 16384 slots served"
    if state == "ok" and covered == "16384":
        return [ok("redis.cluster", "", seen, expected)]
    mend = "Look with redis-cli --cluster check; accounts in slots that nobody serves cannot be charged."
    return [error("redis.cluster", "", seen, expected, mend)]


def _coverage(facts: RedisFacts) -> list[Finding]:
    """Of a node of a cluster, where CONFIG may be asked."""
    check, name = "redis.coverage", "cluster-require-full-coverage"
    value = facts.config.get(name)
    if not facts.info.get("cluster_enabled") or value is None:
        return []
    if value != "no":
        mend = f"Set {name} no."
        return [warning(check, "", f"{name} is {value}: one lost master stops every account", "no", mend)]
    return [ok(check, "", f"{name} is no", "no")]


# -- who may come in -----------------------------------------------------------------------------------------------


def _user(facts: RedisFacts, host: str) -> Finding:
    check = "redis.user"
    expected = "a user of its own, without CONFIG and the like"
    if not facts.user:
        return not_checked(check, "", "ACL WHOAMI is refused")
    may_configure = bool(facts.config)
    seen = f"{facts.user}, which {'may' if may_configure else 'may not'} use CONFIG"
    if is_loopback(host) or (facts.user != "default" and not may_configure):
        return ok(check, "", seen, expected)
    mend = "ACL SETUSER rater on >SECRET ~PREFIX:* &PREFIX:* +@all -@admin -@dangerous +info; name it in the url."
    return warning(check, "", seen, expected, mend)


def _privacy(host: str, *, tls: bool) -> Finding:
    mend = "Give Redis a TLS port and write rediss:// in [redis] url, or keep both on one machine."
    return privacy("redis.tls", "", host, tls=tls, what="every balance", mend=mend)


def unreachable(facts: RedisFacts) -> Sequence[Finding]:
    """Why there is nothing to judge."""
    if facts.login_refused:
        mend = "Compare [redis] url and password with Redis' requirepass or its users (ACL LIST)."
        return [error("redis.login", "", facts.failed, "the log-in is taken", mend)]
    mend = "Start it, mend [redis] url, or wait until it has loaded its data."
    return [error("redis.answers", "", facts.failed, "PONG", mend)]
