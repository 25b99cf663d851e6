"""docs/OPERATIONS.md, the dashboard and the alerts speak of what there is."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import uuid
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.accept.metrics import RESYNCS
from tests.accept.client import Node
from tests.operations.scrape import FOREIGN, Scrape, scrape

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "OPERATIONS.md").read_text("utf-8")
OPS = ROOT / "ops"
DASHBOARD: dict[str, Any] = json.loads((OPS / "grafana" / "tablecast.json").read_text("utf-8"))
ALERTS: dict[str, Any] = yaml.safe_load((OPS / "prometheus" / "alerts.yml").read_text("utf-8"))
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [target["expr"] for panel in PANELS for target in panel["targets"]]
# What Prometheus says itself of whom it asks.
OF_PROMETHEUS = {"up"}


def headings(page: str) -> list[str]:
    return re.findall(r"^#+ (.+)$", page, re.MULTILINE)


def anchor(heading: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def queried(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


def series(told: Scrape) -> set[str]:
    """All names that a query may use, those that have no samples yet among them."""
    names = set(told.samples)
    for name, family in told.families.items():
        if family.type == "histogram":
            names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        else:
            names.add(queried(name, family.type))
    return names


def asked(query: str) -> set[str]:
    """The metrics that a query names."""
    bare = re.sub(r'"[^"]*"', '""', query)
    return set(re.findall(r"\b(?:(?:tablecast|process|python)_\w+|up)\b", bare))


async def busy(node: Node) -> Scrape:
    """A look at a node where everything has happened that brings labels along."""
    room = str(uuid.uuid4())
    viewer = await node.join(room)
    await node.put(b"a\tb\n1\t2\n", room)
    await viewer.shows(1)
    return await scrape(node)


@pytest.fixture
async def told(redis_node: Node) -> Scrape:
    return await busy(redis_node)


def test_the_page_tells_each_metric_and_no_other(told: Scrape) -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `tablecast_")]
    expected = []
    for name, family in told.own.items():
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        shown = ", ".join(f"`{label}`" for label in sorted(labels))
        expected.append(
            f"| `{queried(name, family.type)}` | {family.type} | {shown} | {family.documentation} |"
        )
    assert rows == expected, "these rows belong there:\n" + "\n".join(expected)


def test_queries_name_metrics_and_causes_that_there_are(told: Scrape) -> None:
    there = series(told)
    for query in (*QUERIES, *(rule["expr"] for rule in RULES)):
        names = asked(query)
        assert names, query
        assert names - OF_PROMETHEUS <= there, query
        for causes in re.findall(r'cause=~?"([^"]+)"', query):
            assert set(causes.split("|")) <= set(RESYNCS), query
        for pair in ("()", "{}", "[]"):
            assert query.count(pair[0]) == query.count(pair[1]), query
        # A counter means nothing without the time in which it grew.
        for name in names:
            if name.endswith(("_total", "_bucket", "_count")):
                assert re.search(rf"(rate|increase)\(\s*{name}", query), query


def test_every_metric_of_ours_is_on_the_dashboard(told: Scrape) -> None:
    shown = {name for query in QUERIES for name in asked(query)}
    for name, family in told.own.items():
        base = queried(name, family.type)
        assert {base, f"{base}_bucket"} & shown, f"{base} is on no panel"


def test_the_dashboard_is_sound() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    assert variables == {"datasource", "instance"}
    for panel in PANELS:
        assert panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        used = set(re.findall(r"\$(\w+)", " ".join(each["expr"] for each in panel["targets"])))
        assert used <= variables | {"__rate_interval"}
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references)
    for one, other in combinations((panel["gridPos"] for panel in DASHBOARD["panels"]), 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, f"{one} lies over {other}"
        assert one["x"] + one["w"] <= 24


def test_every_alert_is_complete_and_has_a_runbook_that_exists() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["runbook"] == f"docs/OPERATIONS.md#{anchor(rule['alert'])}"
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))
    written = headings(PAGE.split("## Runbook")[1])
    assert written == names, "the runbook has an entry for each alert, in their order"


async def test_alerts_come_when_they_should_and_only_then() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (of Prometheus) is not installed")
    for arguments in (
        ("check", "config", str(OPS / "prometheus" / "prometheus.yml")),
        ("test", "rules", str(Path(__file__).with_name("alerts_test.yml"))),
    ):
        done = await asyncio.create_subprocess_exec(
            promtool, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        async with asyncio.timeout(30):
            said, _ = await done.communicate()
        assert done.returncode == 0, said.decode()


@pytest.mark.parametrize("entry", PAGE.split("## Runbook")[1].split("\n### ")[1:])
def test_every_entry_of_the_runbook_says_what_to_notice_suspect_look_at_and_do(entry: str) -> None:
    steps = re.findall(r"^- \*\*([A-Za-z ]+)\*\*", entry, re.MULTILINE)
    assert steps == ["People notice", "Likely", "Look", "Do"]


def test_links_within_the_page_lead_somewhere() -> None:
    there = {anchor(heading) for heading in headings(PAGE)}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= there
    for path in re.findall(r"\]\(([^)#]+)\)", PAGE):
        assert (ROOT / "docs" / path).resolve().exists(), path


def test_the_page_names_only_metrics_and_settings_that_there_are(told: Scrape) -> None:
    from server.settings import describe

    known = series(told)
    for name in re.findall(r"`((?:tablecast|process)_[a-z_]+)`", PAGE):
        assert name in known or any(each.startswith(name) for each in known), name
    settings = {each.variable for each in describe()}
    # What nginx.conf is rendered with.
    settings |= set(re.findall(r"\$\{(TABLECAST_\w+)\}", (ROOT / "nginx.conf").read_text("utf-8")))
    for name in re.findall(r"\bTABLECAST_[A-Z_]+\b", PAGE):
        assert name in settings, name
    assert FOREIGN


def test_prometheus_asks_the_nodes_of_the_containers() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
    added = yaml.safe_load((OPS / "docker-compose.observability.yml").read_text("utf-8"))
    scraping = yaml.safe_load((OPS / "prometheus" / "prometheus.yml").read_text("utf-8"))
    (job,) = scraping["scrape_configs"]
    (found,) = job["dns_sd_configs"]
    assert job["job_name"] == "tablecast"
    assert all('job="tablecast"' in rule["expr"] for rule in RULES if "up{" in rule["expr"])
    assert found["names"] == [next(name for name in compose["services"] if name == "app")]
    assert f"TABLECAST_PORT={found['port']}" in (ROOT / "Dockerfile").read_text()
    assert [(OPS / "prometheus" / name).exists() for name in scraping["rule_files"]] == [True]
    # It reaches them by a network that both are in; nothing but Grafana is published, to here only.
    shared = set(added["services"]["prometheus"]["networks"]) & set(
        compose["services"]["app"]["networks"]
    )
    assert shared
    assert "ports" not in added["services"]["prometheus"]
    assert all(port.startswith("127.0.0.1:") for port in added["services"]["grafana"]["ports"])
    for service in added["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (ROOT / source).exists(), source
            else:
                assert source in added["volumes"]
