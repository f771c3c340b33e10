"""Alert rules: valid, tested at the minute, explained; and no name in deploy/ or docs/ that code does not export."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.deploy.metrics_table import Family, document, gateway_families, monitor_families
from tests.deploy.rules import DASHBOARDS, PROMETHEUS, ROOT, metrics_in, recorded_in, rules, run

ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
LABELS = {
    "feature",
    "harm",
    "kind",
    "purpose",
    *("artifact", "gateway", "outcome", "part", "process", "provider", "reason", "rule", "served_by"),
    *("slice", "stage", "state", "status", "task", "webhook"),
}
NO_BASE_UNIT = re.compile(r"_(ms|milliseconds|us|minutes|hours|days|percent|kb|mb|kilobytes|megabytes)(_|$)")


def test_promtool_accepts_configuration_and_rules() -> None:
    """The example configuration loads both rule files."""
    checked = run("promtool", "check", "config", PROMETHEUS / "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(ALERTS)} rules found" in checked.stdout


def test_every_alert_is_silent_a_minute_before_and_fires_on_time() -> None:
    """As alerts_test.yml says of each, with labels and texts."""
    tested = run("promtool", "test", "rules", PROMETHEUS / "alerts_test.yml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_every_alert_has_both_of_its_moments() -> None:
    """One test an alert: nothing at t - 1 minute, one alert at t."""
    tests = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    moments = {
        test["name"]: [
            (int(at["eval_time"].removesuffix("m")), len(at.get("exp_alerts") or ()))
            for at in test["alert_rule_test"]
            if at["alertname"] == test["name"]
        ]
        for test in tests
    }
    assert set(moments) == set(ALERTS)
    for name, ((before, silent), (at, fires)) in moments.items():
        assert (at - before, silent, fires) == (1, 0, 1), name


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_says_what_it_is(name: str) -> None:
    """CamelCase, a severity that somebody routes, a summary, a description, and where to read on."""
    rule = ALERTS[name]
    assert re.fullmatch(r"Stillgate([A-Z][a-z]+)+", name)
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert all(rule["annotations"][part].endswith(".") for part in ("summary", "description"))
    assert rule["annotations"]["runbook_url"] == "{{ $externalLabels.runbook }}#" + name.lower()


def test_the_runbook_has_one_heading_for_each_alert() -> None:
    """In the order of the rules, each with what it means, what to look at and what to do."""
    text = (ROOT / "deploy" / "runbook.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (\w+)$", text, re.MULTILINE)
    assert headings == list(ALERTS)
    for section in text.split("\n## ")[1:]:
        assert all(f"**{part}.**" in section for part in ("Means", "Look at", "Do")), section[:40]


def test_amtool_accepts_the_alertmanager_example() -> None:
    """Pages reach whoever is on call, tickets the queue."""
    path = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
    assert run("amtool", "check-config", path).returncode == 0
    for severity, receiver in (("page", "on-call"), ("ticket", "tickets")):
        routed = run("amtool", "config", "routes", "test", f"--config.file={path}", f"severity={severity}")
        assert routed.stdout.strip() == receiver, routed.stderr


def test_every_name_in_deploy_and_docs_is_exported_or_recorded() -> None:
    """A rule over a metric that nobody exports never fires."""
    families = [*gateway_families(), *monitor_families()]
    series = {name for family in families for name in family.series}
    recorded = {rule["record"] for rule in rules("recording.yml")}
    queried = [path for path in (ROOT / "deploy").rglob("*") if path.suffix in (".yml", ".json")]
    written = [*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md"), *(ROOT / "deploy").glob("*.md")]
    allowed = dict.fromkeys(queried, series) | {
        path: series | {family.name for family in families} for path in written if path.name != "CHANGELOG.md"
    }
    assert len(allowed) > 10
    for path, names in allowed.items():
        text = path.read_text(encoding="utf-8")
        assert metrics_in(text) <= names, (path, metrics_in(text) - names)
        assert recorded_in(text) <= recorded, (path, recorded_in(text) - recorded)


def test_the_documented_metrics_are_those_that_code_exports() -> None:
    """docs/metrics.md is what the code says."""
    written = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    assert written == document(), "write it anew: python -m tests.deploy.metrics_table > docs/metrics.md"


def test_the_dashboards_are_those_that_the_script_writes(tmp_path: Path) -> None:
    """Nobody edits the JSON by hand."""
    script = ROOT / "deploy" / "grafana" / "build.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True, timeout=60)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in DASHBOARDS.iterdir()}, (
        "run deploy/grafana/build.py"
    )


@pytest.mark.parametrize("family", [*gateway_families(), *monitor_families()], ids=lambda family: family.name)
def test_metrics_keep_the_conventions(family: Family) -> None:
    """Prefix, base units, _total for counters alone, a sentence of help, labels out of a known list."""
    assert re.fullmatch(r"stillgate(_[a-z0-9]+)+", family.name)
    assert not NO_BASE_UNIT.search(family.name)
    assert family.name.endswith("_total") == (family.kind == "counter")
    assert not family.name.endswith(("_count", "_sum", "_bucket"))
    assert family.kind != "histogram" or family.name.endswith(("_seconds", "_bytes"))
    assert family.text.endswith(".")
    assert family.text[0].isupper() or family.text[0].isdigit()
    assert set(family.labels) <= LABELS
