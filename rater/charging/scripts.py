"""The charging scripts as a server is given them: as functions (Redis 7 and newer), else as scripts by digest.

Both are made of the same texts. The definitions in a script are carried out at each call, those in a library of
functions once, which saves dozens of closures a call. The library's name holds a digest of its text, so daemons of
two versions use one server beside each other; one that finds its library gone loads it again. So an old library may
be deleted at any moment; `rater doctor` names them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import structlog

HOT = ("reserve", "answer", "extend", "settle", "deny", "post", "grant", "lease", "release")
"""The scripts that go over the pipelined connection."""
Ask = Callable[[Iterable[Sequence[bytes | str]]], Awaitable[list[Any]]]
"""Sends commands; a refusal is an exception among the answers."""
LIBRARY_PREFIX = "rater_"
FUNCTION = "FCALL"
"""The first word of a call of a function."""
_FOLDER = Path(__file__).parent / "lua"
_USES = re.compile(r"^-- uses: ([a-z ]+)$", re.MULTILINE)
_LOADED = "already exists"
_NO_FUNCTIONS = re.compile("unknown (sub)?command|^NOPERM |executing the script can't run|^ERR ACL failure")
"""The last two: rules of an earlier version may forbid what functions write with, beyond what scripts do."""
_LATER = re.compile("^(OOM|READONLY|MISCONF|NOREPLICAS|MASTERDOWN) ")
_UNKNOWN = re.compile("^NOSCRIPT |Function not found")
log = structlog.get_logger(__name__)
_KEPT = "local KEPT = {plans = {}, plans_count = 0, grants = {}, grants_count = 0}"
"""What functions keep from call to call, all of them together; see lua/quick.lua. Scripts have none."""
_OF_FUNCTIONS = ("quick", "plans")
_WITHOUT_MEMORY = ("answer", "extend", "settle", "release")
"""What goes on when the server may take no more memory: operations of live legs, whose number does not grow then.
They write over what there is, and what a settlement adds to the streams it frees of the leg."""
_FUNCTION = """
do
  local run
  local function build()
{parts}
    return function(KEYS, ARGV)
{own}
    end
  end
  redis.register_function{{function_name = '{name}', flags = {{{flags}}}, callback = function(keys, arguments)
    if not run then run = build() end
    return run(keys, arguments)
  end}}
end
"""
"""The parts are carried out at the first call: while a library is loaded Redis offers nothing that they need."""


def script(name: str) -> bytes:
    """A script as EVAL takes it: the parts that its header names in front, but for those of functions only."""
    parts, own = _texts(name, without=_OF_FUNCTIONS)
    if parts:  # a function has room for locals of its own
        own = f"return (function()\n{own}\nend)()"
    return "\n".join(["local KEPT", *parts, own]).encode()


def _texts(name: str, *, without: Sequence[str] = ()) -> tuple[list[str], str]:
    own = (_FOLDER / f"{name}.lua").read_text("utf-8")
    uses = _USES.search(own)
    names = uses.group(1).split() if uses is not None else []
    return [(_FOLDER / f"{part}.lua").read_text("utf-8") for part in names if part not in without], own


@cache
def load_scripts() -> Mapping[str, bytes]:
    """Every script of the hot path, by name."""
    return MappingProxyType({name: script(name) for name in HOT})


def digest(body: bytes) -> str:
    """What EVALSHA calls a script by."""
    return hashlib.sha1(body).hexdigest()


@cache
def library() -> tuple[str, bytes]:
    """Name and source of the library that holds every script of the hot path as a function."""
    texts = [*load_scripts().values(), _FUNCTION.encode(), repr(_WITHOUT_MEMORY).encode()]
    name = LIBRARY_PREFIX + hashlib.sha256(b"\n".join(texts)).hexdigest()[:12]
    functions = []
    for each in HOT:
        parts, own = _texts(each)
        flags = "'allow-oom'" if each in _WITHOUT_MEMORY else ""
        functions.append(_FUNCTION.format(parts="\n".join(parts), own=own, name=f"{name}_{each}", flags=flags))
    return name, f"#!lua name={name}\n{_KEPT}\n{''.join(functions)}".encode()


class Forms:
    """What to load where one connects, and how to call a script there. Begins with functions, and takes to scripts
    for good when a server has no functions or forbids them. `both`: scripts are loaded, too, for what a server
    without memory left refuses as a function, unseen: as a script, a repeat is only read."""

    def __init__(self, *, functions: bool = True) -> None:
        self.functions = functions
        self.both = False
        name, self._source = library()
        self._calls = {each: (FUNCTION, f"{name}_{each}") for each in HOT}
        self._digests = {each: ("EVALSHA", digest(body)) for each, body in load_scripts().items()}
        self.words = self._calls if functions else self._digests
        """As `call` has them."""

    async def load(self, ask: Ask) -> None:
        """Load what `call` names. Raises ConnectionError with the server's refusal."""
        for reply in await ask(self.loading()):
            if not isinstance(reply, Exception) or self.forgives(str(reply)):
                continue
            if not self.functions or not self.has_no_functions(str(reply)):
                raise ConnectionError(str(reply))
            log.info("redis has no functions, or forbids them; scripts serve instead", error=str(reply))
            await self.load(ask)
            return

    def loading(self) -> Sequence[Sequence[bytes | str]]:
        """The commands that load what `call` names."""
        functions = [("FUNCTION", "LOAD", self._source)] if self.functions else []
        scripts = load_scripts().values() if self.both or not self.functions else ()
        return [*functions, *(("SCRIPT", "LOAD", body) for body in scripts)]

    def call(self, name: str, *, as_function: bool | None = None) -> tuple[str, str]:
        """The first two words of a call of the script; `as_function`: unlike others."""
        return (self._calls if (self.functions if as_function is None else as_function) else self._digests)[name]

    def forgives(self, refusal: str) -> bool:
        """Whether the refusal of a greeting's command is no obstacle: loaded before, or the calls will tell."""
        return _LOADED in refusal or _LATER.search(refusal) is not None

    def has_no_functions(self, refusal: str) -> bool:
        """Whether a refusal says that; then scripts are used from now on."""
        if _NO_FUNCTIONS.search(refusal) is None:
            return False
        self.functions = False
        self.words = self._digests
        return True


def is_unknown(refusal: str) -> bool:
    """Whether a server says that it does not know the script or function (any more)."""
    return _UNKNOWN.search(refusal) is not None
