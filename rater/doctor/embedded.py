"""The folder of the embedded Redis: whose it is, who may read it, how much room is left."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

from rater.doctor.findings import Finding, error, ok, warning

FREE_LEAST, FREE_GOOD = 100 << 20, 1 << 30


def check_folder(folder: Path) -> list[Finding]:
    """Of the embedded server. A folder that is not there yet is made by the first `rater serve`."""
    if not folder.exists():
        return [_can_be_made(folder)]
    return [_owner(folder), _mode(folder), check_room("embedded.room", "", folder)]


def _can_be_made(folder: Path) -> Finding:
    parent = next(path for path in folder.parents if path.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return ok("embedded.owner", "", f"{folder} is not there yet; rater serve makes it")
    mend = "Make it, owned by the user that runs rater and with mode 0700, or choose another data_dir."
    return error("embedded.owner", "", f"{folder} cannot be made in {parent}", "a folder of one's own", mend)


def _owner(folder: Path) -> Finding:
    owner, expected = folder.stat().st_uid, "belongs to the user that runs rater"
    if not folder.is_dir():
        return error("embedded.owner", "", f"{folder} is no folder", expected, "Choose another [redis] data_dir.")
    if owner != os.geteuid():
        seen = f"{folder} belongs to the user {owner}; this is {os.geteuid()}"
        mend = "Run the doctor as the user that runs rater; if it is that one: chown the folder and what is in it."
        return (warning if os.geteuid() == 0 else error)("embedded.owner", "", seen, expected, mend)
    return ok("embedded.owner", "", f"{folder} belongs to this user", expected)


def _mode(folder: Path) -> Finding:
    mode = stat.S_IMODE(folder.stat().st_mode)
    seen, expected = f"{folder} has mode {mode:04o}", "0700: balances and numbers are nobody else's"
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return error("embedded.mode", "", seen, expected, f"Run: chmod 700 {folder}")
    return ok("embedded.mode", "", seen, expected)


def check_room(check: str, subject: str, folder: Path) -> Finding:
    """Free space for the append-only file, which is written anew beside the old one from time to time."""
    free = shutil.disk_usage(folder).free
    seen, expected = f"{free / (1 << 30):.1f} GiB are free in {folder}", "1 GiB or more"
    mend = "Make room. When the disk is full Redis refuses writes, and no call is allowed."
    if free < FREE_LEAST:
        return error(check, subject, seen, expected, mend)
    if free < FREE_GOOD:
        return warning(check, subject, seen, expected, mend)
    return ok(check, subject, seen, expected)
