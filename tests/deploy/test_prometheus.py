"""A real Prometheus over a real deployment: it scrapes, evaluates the rules, and every panel shows something."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ledger.control_file import open_control_file
from ledger.spots import spot_of
from ledger.stages import Stage
from monitor.statistics import references_of
from monitor.sums import SliceSums, merged
from tests.artifacts import register, set_stage, tiny_artifact
from tests.deploy.metrics_table import gateway_families, monitor_families
from tests.deploy.rules import PROMETHEUS, Query, queries, rules
from tests.end_to_end.keyword_teacher import CLASSES
from tests.end_to_end.running import TASK, Running, Traffic, deployment, wait_for
from tests.evil_peer import answer, evil_peer
from tests.monitor.world import A, B, build_pair
from tests.ports import free_port

KEYWORDS = {"alpha": ("alpha", 0.9), "beta": ("beta", 0.9), "twist": ("alpha", 0.999)}
# nothing to show where nobody is waited for: the open job, the proposal, the erasure
WHILE_SOMEBODY_WAITS = {"What waits for somebody"}


ASKED_MORE = """
[task.extra_calls]
per_day = 1000000
second_share = 0.5

[task.probe]
requests = 2
every_hours = 0.001
"""


def gate_reference() -> dict[str, dict[str, Any]]:
    """What a manifest would keep of the inputs of 200 gate rows of both classes. Without distances: no detector
    shall watch those of a student that is surer than these rows were."""
    told = ((A, spot_of(0, 0)), (B, spot_of(1, 1)))
    pairs = [build_pair(said, said._replace(spot=spot)) for said, spot in told]
    (kept,) = references_of({"all": merged(SliceSums.of_pair(pair) for pair in pairs * 100)}).values()
    return {"all": {name: value for name, value in kept.items() if not name.endswith("_histogram")}}


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The url of one that scrapes a deployment with a student in canary, labels, a webhook, a caller and a teacher
    that is probed and asked twice."""
    with evil_peer() as peer:
        peer.always = answer(b"", status=204)
        webhook = f'\n[[webhook]]\nname = "pager"\nurl = "{peer.url}"\n'
        with deployment(tmp_path_factory.mktemp("watched"), settings=ASKED_MORE + webhook) as running:
            _serve_with_a_student(running)
            with Traffic(running), scraping(tmp_path_factory.mktemp("prometheus"), running) as url:
                running.make_keys()
                _label(running)
                yield url


def _serve_with_a_student(running: Running) -> None:
    thresholds = {"all": 0.6, "area=home": 0.6}
    told = {"keywords": KEYWORDS, "thresholds": thresholds, "spots": True, "reference": gate_reference()}
    tiny = tiny_artifact(running.data, CLASSES, task=TASK, **told)
    control = open_control_file(running.data)
    register(control, tiny, task=TASK, stage=Stage.SHADOW)
    wait_for(
        lambda: running.ask("alpha twist") and running.answers_of(tiny.artifact),
        "the student answers in shadow",
    )
    set_stage(control, tiny.artifact, Stage.CANARY, 0.5, task=TASK)
    control.dispose()


def _label(running: Running) -> None:
    """True labels for exchanges that became pairs in shadow, and one request that is none."""
    labels = [{"exchange_id": f"g0-{n}", "input_index": 0, "label": "alpha"} for n in range(1, 40)]
    running.api("POST", "/labels", json={"labels": labels}).raise_for_status()
    with socket.create_connection(("127.0.0.1", running.ports["gateway"])) as connection:
        connection.sendall(b"no HTTP at all\r\n\r\n")
        connection.recv(4096)


@contextmanager
def scraping(folder: Path, running: Running) -> Iterator[str]:
    """A Prometheus with our rules, four times a second; it is a failure, not a skip, where there is none."""
    program = shutil.which("prometheus")
    assert program, "prometheus is not installed; `apt-get install prometheus` brings it (.ci/run does)"
    port = free_port()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(_configuration(running)))
    arguments = {
        "config.file": folder / "prometheus.yml",
        "storage.tsdb.path": folder / "tsdb",
        "web.listen-address": f"127.0.0.1:{port}",
    }
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *(f"--{name}={value}" for name, value in arguments.items())], stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _is_ready(url), f"Prometheus is ready: {folder / 'log'}")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def _configuration(running: Running) -> dict[str, Any]:
    """The example, with our targets and a faster pace."""
    document: dict[str, Any] = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    document["global"] |= {
        "scrape_interval": "250ms",
        "scrape_timeout": "250ms",
        "evaluation_interval": "250ms",
    }
    document["rule_files"] = [str(PROMETHEUS / name) for name in document["rule_files"]]
    del document["alerting"]
    ports = {"stillgate-gateway": "operations", "stillgate-monitor": "monitor"}
    for job in document["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"127.0.0.1:{running.ports[ports[job['job_name']]]}"]}]
    return document


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url + "/-/ready").status_code == 200
    except httpx.HTTPError:
        return False


def asked(url: str, expression: str) -> list[dict[str, Any]]:
    """The instant vector. An expression that Prometheus cannot evaluate fails the test with its words."""
    reply = httpx.get(url + "/api/v1/query", params={"query": expression}).json()
    assert reply["status"] == "success", (expression, reply)
    return list(reply["data"]["result"])


def as_grafana_asks(expression: str) -> str:
    """With every variable at its default, over a short interval."""
    text = expression.replace("$__rate_interval", "2s")
    return re.sub(r"\$(task|artifact|slice)\b", ".*", text)


def numbers(found: list[dict[str, Any]]) -> list[float]:
    return [float(series["value"][1]) for series in found if series["value"][1] != "NaN"]


def test_both_targets_are_scraped(prometheus: str) -> None:
    """Under the names that rules and dashboards look for."""
    up = wait_for(lambda: len(found := asked(prometheus, "up == 1")) == 2 and found, "both are up")
    assert {series["metric"]["job"] for series in up} == {"stillgate-gateway", "stillgate-monitor"}


@pytest.mark.parametrize("query", list(queries()), ids=lambda query: f"{query.dashboard}: {query.panel}")
def test_every_panel_shows_something(prometheus: str, query: Query) -> None:
    """Its expression is evaluated without an error, and has a number where there ought to be one."""
    expression = as_grafana_asks(query.expression)
    if query.panel in WHILE_SOMEBODY_WAITS or expression.endswith("> 0"):
        asked(prometheus, expression)
    else:
        wait_for(lambda: numbers(asked(prometheus, expression)), f"{query.panel}: {expression}", 20)


@pytest.mark.parametrize("rule", rules("recording.yml"), ids=lambda rule: rule["record"])
def test_every_recorded_ratio_has_a_value(prometheus: str, rule: dict[str, Any]) -> None:
    """So that an alert over it can fire."""
    found = wait_for(lambda: numbers(asked(prometheus, rule["record"])), rule["record"], 20)
    assert all(0 <= value <= 1 for value in found)


def test_the_webhook_heard_of_the_students_stages(prometheus: str) -> None:
    """The control process delivers, the monitor says so: shadow, then canary."""
    expression = 'stillgate_webhook_delivered_total{webhook="pager"} >= 2'
    wait_for(lambda: asked(prometheus, expression), expression, 20)


def test_no_alert_fires_on_a_deployment_that_is_well(prometheus: str) -> None:
    """Every rule is evaluated without an error."""
    groups = httpx.get(prometheus + "/api/v1/rules").json()["data"]["groups"]
    found = {rule["name"]: rule for group in groups for rule in group["rules"]}
    assert {rule["alert"] for rule in rules("alerts.yml")} <= set(found)
    assert [name for name, rule in found.items() if rule.get("lastError")] == []
    firing = asked(prometheus, 'ALERTS{alertstate="firing"}')
    assert firing == [], json.dumps(firing)


def test_what_is_scraped_is_what_is_documented(prometheus: str) -> None:
    """No metric comes from elsewhere, and each ratio lies between 0 and 1."""
    reply = httpx.get(prometheus + "/api/v1/label/__name__/values").json()
    scraped = {name for name in reply["data"] if name.startswith("stillgate_")}
    documented = {name for family in (*gateway_families(), *monitor_families()) for name in family.series}
    assert scraped <= documented
    for name in sorted(scraped):
        if name.endswith("_ratio"):
            assert all(0 <= value <= 1 for value in numbers(asked(prometheus, name))), name
