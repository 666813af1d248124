"""What logs show: no number, no address, no name, no second line; and everything when asked to."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rater.logs import mask_number, mask_text

NUMBER = "5511912345678"
_SCRIPT = """
import logging, structlog, sys
from rater.logs import set_up_logs
set_up_logs("info", json_lines={json}, show_personal_data={show})
log = structlog.get_logger()
{body}
"""


def logged(body: str, *, json_lines: bool = False, show: bool = False) -> str:
    """What a process of its own writes to standard error."""
    script = _SCRIPT.format(json=json_lines, show=show, body=body)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60).stderr


@pytest.mark.parametrize(
    "text",
    [
        NUMBER, f"+{NUMBER}", "+55 11 91234-5678", "+55 (11) 91234.5678", f"PJSIP/{NUMBER}-0000001a",
        f"sip:+{NUMBER}@host", f"tel={NUMBER}", f"'{NUMBER}'", f"line{NUMBER}", f"{NUMBER},2", f"a {NUMBER}.",
        f'{{"to": "{NUMBER}"}}',
    ],
)  # fmt: skip
def test_a_number_is_masked_wherever_it_stands(text: str) -> None:
    masked = mask_text(text)
    assert "12345678" not in "".join(c for c in masked if c.isdigit())
    assert "xx" in masked


@pytest.mark.parametrize("text", ["pbx1.b1.1732530000.12", "lab-1732530000.12", "1001", "2026-11-25", "in 12.5 s"])
def test_what_is_no_number_stays(text: str) -> None:
    assert mask_text(text) == text


@given(st.text("0123456789", min_size=7, max_size=15))
def test_no_number_can_be_told_from_its_mask(number: str) -> None:
    assert mask_number(number).count("x") == len(number) - 6
    assert number not in mask_text(f"calling {number} now")


@pytest.mark.parametrize("json_lines", [False, True])
def test_values_messages_nested_values_and_tracebacks_are_masked(json_lines: bool) -> None:
    body = f"""
log.info("to {NUMBER}", error="no {NUMBER}", dialled={NUMBER}, caller_name="Ana", nested={{"a": ["{NUMBER}"]}})
log.info("mail", error="550 <ana.lima@example.com> unknown", leg="pbx1.b1.1732530000.12")
try:
    raise ValueError("cannot call {NUMBER}")
except ValueError:
    log.exception("a fault")
logging.getLogger("asyncio").error("exception never retrieved: {NUMBER}")
raise KeyError("{NUMBER}")
"""
    text = logged(body, json_lines=json_lines)
    assert NUMBER not in text
    assert "Ana" not in text
    assert "ana.lima" not in text
    assert "axx@example.com" in text
    assert "pbx1.b1.1732530000.12" in text
    assert text.count("5511xxxxxxx78") >= 7
    assert "KeyError" in text


def test_everything_is_shown_when_the_settings_say_so() -> None:
    text = logged(f'log.info("x", dialled="{NUMBER}", caller_name="Ana Lima")', show=True)
    assert NUMBER in text
    assert "Ana Lima" in text


@pytest.mark.parametrize("json_lines", [False, True])
def test_a_value_cannot_pretend_to_be_a_line_of_its_own(json_lines: bool) -> None:
    body = r'log.info("x", error="a\r\n2026-01-01 [error] forged\x1b[31m\u2028", other=["a\nforged"])'
    text = logged(body, json_lines=json_lines)
    assert len(text.splitlines()) == 1
    assert "\x1b[31mforged" not in text
    if json_lines:
        assert json.loads(text)["error"].startswith("a\r\n")


def test_levels_of_other_libraries_stay_as_they_are() -> None:
    assert "chatter" not in logged('logging.getLogger("aiohttp").info("chatter")')
