"""The alert rules, judged by promtool: they are valid, and each fires when it should and only then.

A case gives series in promtool's notation, a sample every 15 s (`1x40`: 41 times 1; `0+2x40`: from 0 in steps of
2), a time, and the alerts that fire then: exactly these.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from .support import ROOT, promtool

RULES = ROOT / "deploy/prometheus/rater.rules.yml"
ALERTS = re.compile(r"- alert: (\w+)")
SWITCH = 'instance="a:9469",job="rater",switch="pbx1"'
AT = 'instance="a:9469",job="rater"'
OTHER = 'instance="b:9469",job="rater",switch="pbx1"'


class Case(NamedTuple):
    name: str
    series: dict[str, str]
    at: str
    fire: set[str]


def decisions(allowed: str, denied: str) -> dict[str, str]:
    return {
        f'rater_verdicts_total{{{AT},mode="gate",reason="allowed"}}': allowed,
        f'rater_verdicts_total{{{AT},mode="gate",reason="line_limit"}}': denied,
    }


def latencies(name: str, fast: str, slow: str, labels: str = AT) -> dict[str, str]:
    """Observations up to 5 ms, and those up to a second."""
    return {
        f'{name}_bucket{{{labels},le="0.005"}}': fast,
        f'{name}_bucket{{{labels},le="1.0"}}': slow,
        f'{name}_bucket{{{labels},le="+Inf"}}': slow,
    }


HEALTHY = {
    f'up{{{AT}}}': "1x400", f'rater_build_info{{{AT},component="serve"}}': "1x400",
    f'process_start_time_seconds{{{AT}}}': "1790000000x400",
    f'rater_leader{{{SWITCH}}}': "1x400", f'rater_leader{{{OTHER}}}': "0x400",
    f'rater_ami_up{{{SWITCH}}}': "1x400", f'rater_ami_up{{{OTHER}}}': "0x400",
    f'rater_ready{{{AT}}}': "1x400", 'rater_ready{instance="b:9469",job="rater"}': "0x400",
    f'rater_store_up{{{AT}}}': "1x400", f'rater_store_losses_total{{{AT},shard="0"}}': "0x400",
    f'rater_ami_lag_seconds{{{SWITCH}}}': "0.01x400",
    f'rater_ami_frames_total{{{SWITCH}}}': "0+100x400", f'rater_ami_reconnects_total{{{SWITCH}}}': "0x400",
    f'rater_ami_bad_frames_total{{{SWITCH}}}': "0x400",
    f'rater_ami_clock_offset_seconds{{{SWITCH}}}': "-0.02x400",
    f'rater_outbox_lag_seconds{{{AT},shard="0",group="mqtt"}}': "0.2x400",
    f'rater_outbox_lag_entries{{{AT},shard="0",group="mqtt"}}': "3x400",
    f'rater_outbox_entries{{{AT},shard="0"}}': "100+10x400", f'rater_dead_letters{{{AT},shard="0"}}': "0x400",
    'rater_publish_sink_up{instance="a:9470",job="rater",sink="mqtt"}': "1x400",
    'rater_ready{instance="a:9470",job="rater"}': "1x400",
    f'rater_legs_ended_total{{{AT},disposition="answered",grade="observed"}}': "0+20x400",
    f'rater_legs_ended_total{{{AT},disposition="answered",grade="estimated"}}': "0x400",
    f'rater_catalog_version{{{AT}}}': "7x400", 'rater_catalog_version{instance="b:9469",job="rater"}': "7x400",
    "rater_audit_differences": "0x400", "rater_audit_finished_timestamp_seconds": "0x400",
    **decisions("0+100x400", "0+5x400"),
    **latencies("rater_decision_latency_seconds", "0+100x400", "0+100x400"),
    **latencies("rater_store_latency_seconds", "0+100x400", "0+100x400", f'{AT},script="reserve"'),
}  # fmt: skip
CASES = [
    Case("all is well", HEALTHY, "90m", set()),
    Case("no answer", {f"up{{{AT}}}": "1x8 0x40"}, "4m", {"RaterDown"}),
    Case("no answer for a moment", {f"up{{{AT}}}": "1x8 0x2 1x40"}, "4m", set()),
    Case("dies again and again", {
        f"process_start_time_seconds{{{AT}}}": "100x4 200x4 300x4 400x4",
        f'rater_build_info{{{AT}}}': "1x40",
    }, "4m", {"RaterRestarts"}),
    Case("another program restarts", {
        "process_start_time_seconds{instance=\"x\"}": "100x4 200x4 300x4 400x4",
    }, "4m", set()),
    Case("hand-over within seconds", {
        f"rater_leader{{{SWITCH}}}": "1x8 0x40", f"rater_leader{{{OTHER}}}": "0x8 1x40",
    }, "5m", set()),
    Case("nobody leads", {
        f"rater_leader{{{SWITCH}}}": "1x8 0x40", f"rater_leader{{{OTHER}}}": "0x50",
    }, "5m", {"RaterNoLeader"}),
    Case("two lead", {
        f"rater_leader{{{SWITCH}}}": "1x50", f"rater_leader{{{OTHER}}}": "0x8 1x40",
    }, "5m", {"RaterTwoLeaders"}),
    Case("the leader has no connection", {
        f"rater_leader{{{SWITCH}}}": "1x50", f"rater_ami_up{{{SWITCH}}}": "1x8 0x40",
        f"rater_ready{{{AT}}}": "1x8 0x40",
    }, "5m", {"RaterAmiDown", "RaterNotReady"}),
    Case("the store is away, so a call is decided without it", {
        f"rater_store_up{{{AT}}}": "1x8 0x40",
        f'rater_verdicts_total{{{AT},mode="gate",reason="store_unavailable"}}': "0x8 1x40",
    }, "4m", {"RaterStoreDown", "RaterDecidesBlind"}),
    Case("the store came back as an earlier self", {
        f'rater_store_losses_total{{{AT},shard="3"}}': "0x8 1x40",
    }, "4m", {"RaterStoreLostWrites"}),
    Case("breaks again and again", {f"rater_ami_reconnects_total{{{SWITCH}}}": "0+1x40"}, "10m", {"RaterAmiFlaps"}),
    Case("one break", {f"rater_ami_reconnects_total{{{SWITCH}}}": "0x8 1x40"}, "10m", set()),
    Case("late", {
        f"rater_ami_lag_seconds{{{SWITCH}}}": "3x40", f"rater_ami_frames_total{{{SWITCH}}}": "0+9x40",
    }, "5m", {"RaterAmiLag"}),
    Case("the last event of a quiet night was late", {
        f"rater_ami_lag_seconds{{{SWITCH}}}": "3x40", f"rater_ami_frames_total{{{SWITCH}}}": "9x40",
    }, "5m", set()),
    Case("unreadable frames", {f"rater_ami_bad_frames_total{{{SWITCH}}}": "0+1x40"}, "5m", {"RaterAmiBadFrames"}),
    Case("the switch's clock is behind", {
        f"rater_ami_clock_offset_seconds{{{SWITCH}}}": "-5x40",
    }, "8m", {"RaterSwitchClock"}),
    Case("slow scripts", latencies(
        "rater_store_latency_seconds", "0+5x80", "0+10x80", f'{AT},script="reserve"',
    ), "15m", {"RaterStoreSlow"}),
    Case("slow decisions", latencies(
        "rater_decision_latency_seconds", "0+5x80", "0+10x80",
    ), "15m", {"RaterDecisionSlow"}),
    Case("denials rise", decisions("0+10x240 2405+5x40", "0+0x240 5+5x40"), "69m", {"RaterDenialSpike"}),
    Case("denials as always", decisions("0+6x300", "0+4x300"), "70m", set()),
    Case("hardly a call at night, and denied", decisions("0x300", "0+0x299 1"), "74m50s", set()),
    Case("hardly any is allowed", decisions("0x80", "0+10x80"), "18m", {"RaterNothingAllowed"}),
    Case("a consumer is away", {
        'rater_outbox_lag_seconds{shard="0",group="mqtt"}': "0+15x60",
    }, "14m", {"RaterOutboxLag"}),
    Case("a consumer is away for long, and events come", {
        'rater_outbox_lag_seconds{shard="0",group="mqtt"}': "0+15x240",
        'rater_outbox_lag_entries{shard="0",group="mqtt"}': "0+15x240",
    }, "55m", {"RaterOutboxLag", "RaterOutboxGrows"}),
    Case("a large outbox", {'rater_outbox_entries{shard="0"}': "6000000x80"}, "15m", {"RaterOutboxLarge"}),
    Case("dead letters", {'rater_dead_letters{shard="0"}': "0x4 1x40"}, "2m", {"RaterDeadLetters"}),
    Case("entries are dropped", {
        'rater_dropped_entries_total{shard="0",stream="dead"}': "0x4 3x40",
    }, "3m", {"RaterEntriesDropped"}),
    Case("the broker is away", {'rater_publish_sink_up{sink="mqtt"}': "1x4 0x40"}, "5m", {"RaterSinkDown"}),
    Case("an end was not seen", {
        'rater_legs_ended_total{disposition="answered",grade="estimated"}': "0x4 2x40",
    }, "3m", {"RaterEstimatedEndings"}),
    Case("a daemon keeps the old catalogue", {
        'rater_catalog_version{instance="a"}': "7x4 8x40", 'rater_catalog_version{instance="b"}': "7x50",
    }, "5m", {"RaterCatalogDiffers"}),
    Case("the audit finds something", {
        "rater_audit_differences": "0x4 1x40", "rater_audit_finished_timestamp_seconds": "0x4 60x40",
    }, "3m", {"RaterBooksDiffer"}),
    Case("no audit for more than a day", {
        "rater_audit_finished_timestamp_seconds": "0x6400",
    }, "26h30m", {"RaterAuditOverdue"}),
]  # fmt: skip


def test_promtool_accepts_the_rules() -> None:
    checked = promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_exactly_these_alerts_fire(case: Case, tmp_path: Path) -> None:
    firing = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(case.fire)]
    test = {
        "rule_files": [str(RULES)],
        "evaluation_interval": "15s",
        "tests": [{
            "interval": "15s",
            "input_series": [{"series": name, "values": values} for name, values in case.series.items()],
            "promql_expr_test": [{
                "expr": 'max by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": case.at,
                "exp_samples": firing,
            }],
        }],
    }  # fmt: skip
    file = tmp_path / "rules.test.yml"
    file.write_text(json.dumps(test))  # JSON is YAML
    tested = promtool("test", "rules", file)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_is_seen_to_fire() -> None:
    written = set(ALERTS.findall(RULES.read_text(encoding="utf-8")))
    assert written == set().union(*(case.fire for case in CASES))


def test_every_alert_says_what_it_means_and_what_to_do() -> None:
    parts = re.split(r"- alert: ", RULES.read_text(encoding="utf-8"))[1:]
    for part in parts:
        name = part.split("\n", 1)[0]
        for wanted in ("summary:", "description:", "runbook:", "severity: "):
            assert part.count(wanted) == 1, f"{name}: {wanted}"
        assert re.search(r"severity: (critical|warning)\}", part), name
