"""What the documentation, the alert rules and the dashboard name is what the product exposes."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rater.metrics import families

from .support import ROOT, promtool

PAGE = ROOT / "docs/metrics.md"
RULES = ROOT / "deploy/prometheus/rater.rules.yml"
DASHBOARD = ROOT / "deploy/grafana/rater.json"
NAMED = re.compile(r"\brater_[a-z_]+")
ROW = re.compile(r"\| `(rater_\w+)` \| (\w+) \|([^|]*)\|")


def test_the_page_lists_exactly_what_is_exposed() -> None:
    listed = {
        name: (kind, tuple(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(PAGE.read_text(encoding="utf-8"))
    }
    assert listed == families()


def exposed() -> set[str]:
    """Every name that a query may ask for."""
    names = set(families())
    for name, (kind, _) in families().items():
        if kind == "histogram":
            names |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    return names


def dashboard_queries() -> list[str]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    variables = [one["definition"] for one in dashboard["templating"]["list"] if "definition" in one]
    return variables + [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


def test_rules_ask_only_for_what_exists() -> None:
    rules = re.sub(r"(summary|description|runbook): (>-\n( {12}.*\n)+|.*)", "", RULES.read_text(encoding="utf-8"))
    assert set(NAMED.findall(rules)) <= exposed()


def test_every_metric_is_on_the_dashboard() -> None:
    named = set(NAMED.findall("\n".join(dashboard_queries())))
    assert named <= exposed()
    shown = {name for name in families() if any(one.startswith(name) for one in named)}
    assert set(families()) - shown == {"rater_audit_accounts", "rater_audit_finished_timestamp_seconds"}


def test_promtool_accepts_the_dashboards_queries(tmp_path: Path) -> None:
    queries = [
        query.replace("$__rate_interval", "5m").replace("$switch", ".*")
        for query in dashboard_queries()
        if not query.startswith("label_values")
    ]
    assert len(queries) > 30
    rules = [{"record": f"test:query{place}", "expr": query} for place, query in enumerate(queries)]
    file = tmp_path / "dashboard.rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))  # JSON is YAML
    checked = promtool("check", "rules", file)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["type"] == "row" or panel["description"], panel["title"]


def test_the_page_lists_every_alert_with_its_severity() -> None:
    written = re.findall(r"- alert: (\w+)[\s\S]*?severity: (\w+)", RULES.read_text(encoding="utf-8"))
    listed = re.findall(r"\| `(Rater\w+)` \| (\w+) \|", PAGE.read_text(encoding="utf-8"))
    assert listed == written
