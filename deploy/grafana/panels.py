"""What a dashboard is made of, and Grafana's form of it: rows of panels, each with its queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH = 24  # columns of Grafana's grid
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    text: str
    unit: str  # Grafana's name of it
    queries: tuple[tuple[str, str], ...]  # expression, legend
    kind: str = "timeseries"
    columns: int = 8
    least: float | None = 0  # of the axis; None where it follows what is shown
    most: float | None = None
    shown: tuple[tuple[str, str], ...] = ()  # of a table: label, or Value, and its heading
    words: tuple[tuple[str, str], ...] = ()  # said in place of a number


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric}{{{where}}}[$__rate_interval]))"


def quantile(share: float, metric: str) -> str:
    return f"histogram_quantile({share}, {rate(metric + '_bucket', 'le')})"


def dashboard(uid: str, title: str, rows: Sequence[Row], variables: list[dict[str, Any]]) -> dict[str, Any]:
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": uid,
        "title": title,
        "tags": ["stillgate"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [source, *variables]},
        "panels": list(_placed(rows)),
    }


def variable(name: str, metric: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": f"label_values({metric}, {name})", "refId": name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }


def _placed(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows below one another, their panels from left to right."""
    placed: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        grid = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        placed.append(
            {"id": len(placed) + 1, "type": "row", "title": row.title, "gridPos": grid, "panels": []}
        )
        top, left = top + 1, 0
        height = 8 if any(panel.kind == "timeseries" for panel in row.panels) else 4
        for panel in row.panels:
            if left + panel.columns > WIDTH:
                top, left = top + height, 0
            grid = {"x": left, "y": top, "w": panel.columns, "h": height}
            placed.append({"id": len(placed) + 1, "gridPos": grid, **_panel(panel)})
            left += panel.columns
        top += height
    return placed


def _panel(panel: Panel) -> dict[str, Any]:
    limits = {"min": panel.least, "max": panel.most}
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.text,
        "datasource": DATASOURCE,
        "targets": [
            _target(panel, *query, chr(ord("A") + index)) for index, query in enumerate(panel.queries)
        ],
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                **{name: value for name, value in limits.items() if value is not None},
                **({"mappings": [_mapping(panel.words)]} if panel.words else {}),
            },
            "overrides": [],
        },
        "options": _options(panel.kind),
        **({"transformations": [_organized(panel.shown)]} if panel.shown else {}),
    }


def _mapping(words: Sequence[tuple[str, str]]) -> dict[str, Any]:
    options = {number: {"text": word, "index": index} for index, (number, word) in enumerate(words)}
    return {"type": "value", "options": options}


def _organized(shown: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """These columns in this order; the time of the question, and a value that nobody named, are left out."""
    names = [name for name, _ in shown]
    return {
        "id": "organize",
        "options": {
            "excludeByName": {name: True for name in ("Time", "Value") if name not in names},
            "indexByName": {name: index for index, name in enumerate(names)},
            "renameByName": dict(shown),
        },
    }


def _target(panel: Panel, expression: str, legend: str, reference: str) -> dict[str, Any]:
    now_alone = panel.kind in ("stat", "table")
    return {
        "refId": reference,
        "datasource": DATASOURCE,
        "expr": expression,
        "legendFormat": legend,
        "instant": now_alone,
        "range": not now_alone,
        **({"format": "table"} if panel.kind == "table" else {}),
    }


def _options(kind: str) -> dict[str, Any]:
    if kind == "stat":
        return {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "none", "graphMode": "none"}
    if kind == "table":
        return {"showHeader": True}
    return {
        "legend": {"displayMode": "list", "placement": "bottom"},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
