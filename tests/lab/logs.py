"""The ends of logs, for a person who looks at a failed test."""

from __future__ import annotations

from pathlib import Path


def show_tail(path: Path, lines: int = 60) -> str:
    """The file's path and its last lines."""
    last = path.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join([f"--- {path}", *last])
