"""A real Asterisk for the tests, in a mount namespace of its own.

The installed lab (see tests/install-lab) is seen read-only at a private mount point; configuration, state, logs and
spool are directories of this run. The namespace goes with its last process, and the mounts with it: after any
crash nothing is left to unmount. Nothing is ever written into the cache.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from .ami import Ami
from .logs import show_tail
from .ports import free_port

HERE = Path(__file__).parent
SNIPPETS = HERE.parent.parent / "deploy" / "asterisk"
RATER_SECRET = "a secret of the lab"
LINES = range(1001, 1021)
MOVING_LINES = range(1101, 1300)
"""Of the suite of moves; their dialplan is etc/moves.conf."""
START_TIMEOUT_S = 60.0


class Asterisk:
    """`folder`: where this run keeps everything; `lab`: the installed tree."""

    def __init__(self, lab: Path, folder: Path) -> None:
        self.lab = lab
        self.folder = folder
        self.ami_port = free_port()
        self.sip_port = free_port(socket.SOCK_DGRAM)
        self.log = folder / "log" / "full"
        self._output = folder / "output"
        self._process: subprocess.Popen[bytes] | None = None
        self._prepare()

    # -- folders ---------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        for name in ("root", "log", "run", "spool", "cache"):
            (self.folder / name).mkdir(parents=True)
        shutil.copytree(self.lab / "var/lib/asterisk", self.folder / "lib", symlinks=True)
        (self.folder / "run/asterisk").mkdir()
        self._write_configuration()
        host = socket.gethostname()
        (self.folder / "hosts").write_text(f"127.0.0.1 localhost {host}\n")
        (self.folder / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
        user, group = self._owner()
        for path in (p for name in ("etc", "log", "run", "spool", "cache", "lib") for p in self._tree(name)):
            os.chown(path, user, group, follow_symlinks=False)

    def _tree(self, name: str) -> list[Path]:
        return [self.folder / name, *(self.folder / name).rglob("*")]

    def _owner(self) -> tuple[int, int]:
        for line in (self.lab / "etc/passwd").read_text().splitlines():
            name, _, user, group, *_ = line.split(":")
            if name == "asterisk":
                return int(user), int(group)
        raise AssertionError(f"{self.lab} has no user asterisk; remove it and run tests/install-lab again")

    def _write_configuration(self) -> None:
        """Debian's samples, the lab's own files over them, and the product's snippets as they are shipped."""
        etc = self.folder / "etc"
        shutil.copytree(self.lab / "etc/asterisk", etc, symlinks=True)
        (modules,) = (p.relative_to(self.lab) for p in (self.lab / "usr/lib").glob("**/asterisk/modules"))
        values = {
            "MODULES": f"/{modules}",
            "AMI_PORT": str(self.ami_port),
            "SIP_PORT": str(self.sip_port),
            "RATER_USER": self._rater_user(),
            "LINES": "\n".join(self._line(line) for line in (*LINES, *MOVING_LINES)),
        }
        for source in (HERE / "etc").glob("*.conf"):
            text = source.read_text()
            for name, value in values.items():
                text = text.replace(f"@{name}@", value)
            (etc / source.name).write_text(text)
        shutil.copy(SNIPPETS / "rater.conf", etc)

    def _rater_user(self) -> str:
        """The user of the shipped sample, with a secret; and the same with one class less each, for comparison."""
        sample = (SNIPPETS / "manager.conf.sample").read_text()
        sample = sample[sample.index("[rater]") :].replace("CHANGE-ME", RATER_SECRET)
        users = [sample, sample.replace("[rater]", "[rater-warns]").replace("write=", "write=originate,")]
        for option, classes in re.findall(r"^(read|write)=(.*)$", sample, re.MULTILINE):
            for left_out in classes.split(","):
                rest = ",".join(name for name in classes.split(",") if name != left_out)
                poorer = sample.replace(f"{option}={classes}", f"{option}={rest}").replace(RATER_SECRET, "lab")
                users.append(poorer.replace("[rater]", f"[without-{option}-{left_out}]"))
        return "\n".join(users)

    def _line(self, line: int) -> str:
        """Line 1007 has no account code but the inherited variable; the account code of the others is A<line>."""
        payer = "set_var=__RATER_ACCOUNT=A1007" if line == 1007 else f"accountcode=A{line}"
        context = "context=moves\n" if line in MOVING_LINES else ""
        return f"[{line}](line)\n{payer}\n{context}callerid=Line {line} <{line}>\n"

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start and wait until it is fully booted."""
        assert self._process is None
        script = self._mount_script()
        with self._output.open("ab") as output:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid",
                 "--fork", "--kill-child=KILL", "sh", "-ec", script],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        self.until_booted()

    def _mount_script(self) -> str:
        root = shlex.quote(str(self.folder / "root"))
        binds = {
            "etc": "/etc/asterisk",
            "lib": "/var/lib/asterisk",
            "log": "/var/log/asterisk",
            "spool": "/var/spool/asterisk",
            "run": "/run",
            "hosts": "/etc/hosts",
            "nsswitch.conf": "/etc/nsswitch.conf",
        }
        lines = [
            f"mount --bind {shlex.quote(str(self.lab))} {root}",
            f"mount -o remount,bind,ro {root}",
            f"mount -t proc proc {root}/proc",
            f"mount --rbind /dev {root}/dev",
            f"mount -t tmpfs tmpfs {root}/tmp",
            *(f"mount --bind {shlex.quote(str(self.folder / own))} {root}{there}" for own, there in binds.items()),
            # Not exec: the shell stays as the namespace's first process. It keeps its order to die with its parent,
            # which Asterisk would lose in changing its user; and with the first process all others go.
            f"chroot {root} /usr/sbin/asterisk -f -U asterisk -G asterisk",
        ]
        return "\n".join(lines)

    def until_booted(self) -> None:
        """Wait until it has started, or started anew by itself."""
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline_s:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"Asterisk ended with {self._process.returncode}:\n{self.tail()}")
            with contextlib.suppress(OSError, PermissionError, TimeoutError):
                with Ami(self.ami_port) as ami:
                    ami.wait("FullyBooted", timeout_s=START_TIMEOUT_S)
                return
            time.sleep(0.1)
        raise AssertionError(f"Asterisk was not ready within {START_TIMEOUT_S:.0f} s:\n{self.tail()}")

    def stop(self) -> None:
        """Stop at once, as a crash would."""
        if self._process is not None:
            process, self._process = self._process, None
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
            process.wait(timeout=10)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def version(self) -> str:
        with Ami(self.ami_port) as ami:
            return ami.action("CoreSettings").get("AsteriskVersion", "")

    def hang_up_everything(self) -> None:
        """End all calls and wait until they are gone."""
        with Ami(self.ami_port) as ami:
            for _ in range(50):
                since = ami.mark()
                ami.action("CoreShowChannels")
                ami.wait("CoreShowChannelsComplete", since=since)
                channels = [event["Channel"] for event in ami.events("CoreShowChannel", since)]
                if not channels:
                    return
                for channel in channels:
                    ami.action("Hangup", Channel=channel)
                time.sleep(0.05)
        raise AssertionError(f"channels do not end: {channels}")

    def tail(self) -> str:
        """The ends of Asterisk's output and log."""
        return "\n".join(show_tail(path) for path in (self._output, self.log) if path.exists())
