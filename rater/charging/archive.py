"""Old entries of the ledger, from Redis into files, month by month, without a moment in which one is missing.

    1. write the month's entries to a file; it takes its name when it is complete and on the disk
    2. read it back and check it
    3. note in the checkpoint that this file is being moved (`ShardLedger.begin`)
    4. page by page, compare the file with the stream, and let one script drop the page and store the new sums

Whatever dies, doing it again goes on: before 3 the same file is written anew with the same contents; after it the
noted file is taken up at the checkpoint's place. Two runs at once do no harm: each step says what it believes the
checkpoint to be, and is refused when another was faster.

A file is gzip of JSON lines: a head, one line for each entry in the order of the stream, and a foot with their
number and digest. Its name is ``ledger-<shard>-<month>-<the place before its first entry>.jsonl.gz``.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from rater.charging.books import LedgerEntry, Line
from rater.charging.ledger import PAGE, Checkpoint, Placed, ShardLedger, order
from rater.errors import InputError, StoreError
from rater.ids import AccountId

SCHEMA = "rater.ledger/1"
MARGIN_MS = 600_000
"""A month is closed when the server's clock has been past it for so long: clocks are set back a little at times."""
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Archived:
    """One file, checked. `after`: the place before its first entry."""

    path: Path
    after: str
    first: str
    last: str
    entries: int


class ArchiveDamaged(InputError):
    pass


def month_of(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m}"


def month_starts_ms(month: str) -> int:
    """Raises InputError."""
    try:
        return int(datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC).timestamp() * 1000)
    except ValueError as error:
        raise InputError(f"{month!r} is no month", hint="Write a year and a month: 2026-01.") from error


def next_month(month: str, by: int = 1) -> str:
    year, number = map(int, month.split("-"))
    years, zero_based = divmod(year * 12 + number - 1 + by, 12)
    return f"{years:04}-{zero_based + 1:02}"


async def archive(
    ledger: ShardLedger, folder: Path, before: str, progress: Progress = lambda entries: None
) -> list[Archived]:
    """Move every month before `before` to files in `folder`; the files that were moved. Raises StoreError when
    somebody else does it at the same time, ArchiveDamaged when a file is not what was written."""
    done: list[Archived] = []
    until_ms = min(month_starts_ms(before), await ledger.now_ms() - MARGIN_MS)
    while True:
        checkpoint = await ledger.checkpoint()
        if checkpoint.archive:
            archived = check(folder / checkpoint.archive)
        else:
            written = await _export(ledger, folder, checkpoint, until_ms)
            if written is None:
                return done
            archived = written
            if not await ledger.begin(checkpoint.at, archived.path.name, archived.last):
                raise _overtaken(ledger)
        await _move(ledger, checkpoint, archived, progress)
        done.append(archived)


async def _export(ledger: ShardLedger, folder: Path, checkpoint: Checkpoint, until_ms: int) -> Archived | None:
    """The next month's entries in a file; None when there are none that old, or their month is not over."""
    first = await ledger.page(checkpoint.at, 1)
    if not first:
        return None
    month = month_of(order(first[0].id)[0])
    end_ms = month_starts_ms(next_month(month))
    if end_ms > until_ms:
        return None
    name = f"ledger-{ledger.shard}-{month}-{checkpoint.at}.jsonl.gz"
    with _Writer(folder / name, checkpoint.at, ledger.shard, month) as writer:
        async for placed in ledger.each(checkpoint.at):
            if order(placed.id)[0] >= end_ms:
                break
            writer.write(placed)
    return check(folder / name)


async def _move(ledger: ShardLedger, checkpoint: Checkpoint, archived: Archived, progress: Progress) -> None:
    """Drop from the stream what the file has, from the checkpoint on."""
    at = checkpoint.at
    for page in _pages(archived.path, at):
        stored = await ledger.page(at, len(page))
        if stored != page:
            if (await ledger.checkpoint()).at != at:
                raise _overtaken(ledger)
            raise ArchiveDamaged(
                f"{archived.path} and the ledger of shard {ledger.shard} differ after {at}; nothing more was moved",
                hint="Keep both as they are. The file may be of another installation: look at its first line.",
            )
        if not await ledger.fold(at, page, is_last=page[-1].id == archived.last):
            raise _overtaken(ledger)
        at = page[-1].id
        progress(len(page))


def _overtaken(ledger: ShardLedger) -> StoreError:
    return StoreError(
        f"the ledger of shard {ledger.shard} is being moved by somebody else, or was changed by hand",
        hint="Nothing is lost. Wait for the other run to end, and try again.",
    )


# -- files -------------------------------------------------------------------------------------------------------


class _Writer:
    """A file that takes its name when it is complete and on the disk."""

    def __init__(self, path: Path, after: str, shard: int, month: str) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.part")
        self._head = {"schema": SCHEMA, "shard": shard, "month": month, "after": after}
        self._digest = hashlib.sha256()
        self._count = 0
        self._last = after
        self._raw: IO[bytes]
        self._gzip: gzip.GzipFile

    def __enter__(self) -> _Writer:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            self._raw = os.fdopen(os.open(self._partial, os.O_WRONLY | os.O_CREAT, 0o640), "wb")
            fcntl.flock(self._raw, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if self._partial.stat().st_ino != os.fstat(self._raw.fileno()).st_ino:
                raise BlockingIOError
            self._raw.truncate()
        except (BlockingIOError, FileNotFoundError) as error:  # held by another run, or by now the finished file
            raise StoreError(f"{self._partial} is being written by another run", hint="Wait for it.") from error
        except OSError as error:
            raise _unwritable(self._partial, error) from error
        # Without name and time in it the same entries make the same file, to the byte.
        self._gzip = gzip.GzipFile(filename="", mode="wb", fileobj=self._raw, mtime=0)
        self._line(self._head)
        return self

    def write(self, placed: Placed) -> None:
        self._line({"id": placed.id, **asdict(placed.entry)})
        self._count += 1
        self._last = placed.id

    def _line(self, value: dict[str, Any]) -> None:
        data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        self._digest.update(data)
        try:
            self._gzip.write(data)
        except OSError as error:
            raise _unwritable(self._partial, error) from error

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self._line({"entries": self._count, "last": self._last, "sha256": self._digest.hexdigest()})
                self._gzip.close()
                self._raw.flush()
                os.fsync(self._raw.fileno())
                self._partial.replace(self._path)
                _sync_folder(self._path.parent)
        except OSError as error:
            raise _unwritable(self._path, error) from error
        finally:
            self._raw.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check(path: Path) -> Archived:
    """Read a file to its end. Raises ArchiveDamaged when it is not whole or not in order."""
    after, first, last, count = "", "", "", 0
    for value in _values(path):
        if "schema" in value:
            after = last = value["after"]
            continue
        if order(value["id"]) <= order(last):
            raise ArchiveDamaged(f"{path}: entry {value['id']} stands after {last}", hint="The file was changed.")
        first, last, count = first or value["id"], value["id"], count + 1
    return Archived(path, after, first, last, count)


def entries(path: Path) -> Iterator[Placed]:
    """The file's entries in order. Raises ArchiveDamaged, at its end when its digest is wrong."""
    for value in _values(path):
        if "schema" not in value:
            yield _placed(value)


def _pages(path: Path, after: str) -> Iterator[list[Placed]]:
    page: list[Placed] = []
    for placed in entries(path):
        if order(placed.id) > order(after):
            page.append(placed)
        if len(page) == PAGE:
            yield page
            page = []
    if page:
        yield page


def _values(path: Path) -> Iterator[dict[str, Any]]:
    """Head and entries as they stand; the foot is compared with them."""
    digest, count, foot = hashlib.sha256(), 0, None
    try:
        with gzip.open(path, "rb") as file:
            for data in file:
                value = json.loads(data)
                if foot is not None or (not count and value.get("schema") != SCHEMA):
                    raise ArchiveDamaged(f"{path} is no ledger archive of this version", hint=f"Expected {SCHEMA}.")
                if "sha256" in value:
                    foot = value
                    continue
                digest.update(data)
                count += 1
                yield value
    except FileNotFoundError as error:
        raise ArchiveDamaged(
            f"the archive {path} is missing",
            hint="A move to it was under way. Name the folder that it is in; nothing is lost while it is there.",
        ) from error
    except (OSError, EOFError, ValueError, KeyError) as error:
        raise ArchiveDamaged(f"{path} cannot be read: {error}", hint="Is it whole?") from error
    if foot is None or foot["entries"] != count - 1 or foot["sha256"] != digest.hexdigest():
        raise ArchiveDamaged(
            f"{path} is not as it was written: its digest differs", hint="Restore it from a backup."
        )


def _placed(value: dict[str, Any]) -> Placed:
    lines = tuple(Line(**line) for line in value["lines"])
    entry = LedgerEntry(value["op"], AccountId(value["account"]), value["at_ms"], value["note"], lines)
    return Placed(value["id"], entry)


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"cannot write {path}: {error.strerror or error}", hint="Name a folder with room, with --out."
    )
