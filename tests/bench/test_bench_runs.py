"""`make bench` works: a sketch of each subject runs and every figure is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.chromium import find_chromium
from tests.nodes.harness import require

ROOT = Path(__file__).parents[2]
FIGURES = (
    "fan-out: CPU a delivered page",
    "fan-out: last of",
    "memory: of the node a viewer",
    "ingest: PUT into Redis",
    "ingest: WebSocket into Redis",
    "ingest: peak growth of the node",
    "cutter: plain TSV",
    "cutter: quoted TSV",
    "cutter: CSV, 40 % of cells quoted",
    "cutter: CSV, all cells quoted",
    "page turn",
    "latency: node to node",
    "40 viewers, idle: memory of the node for each",
    "40 viewers, idle: share of a core",
    "40 viewers: last to get a page",
    "40 viewers: CPU a delivered page",
    "4 rooms of 2 viewers at once: last to get a page",
    "20 viewers come at once: last first page",
    "behind Nginx: 40 viewers: last to get a page",
    "behind Nginx: 20 viewers come at once: last first page",
    "two nodes (naive: one): last of 20 viewers",
    "last of 20 beside 10 stalled",
)

# These have limits, and no peer.
BIG_FIGURES = (
    "8 MB by PUT: growth of the node",
    "8 MB by Chromium: growth of the node",
    "8 MB by Chromium: growth of the browser",
    "8 MB: first page at the sender",
    "8 MB: first page at another viewer",
)


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.timeout(150)
def test_a_quick_bench_prints_every_figure() -> None:
    require("redis-server")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=140,
    )
    assert done.returncode == 0, done.stderr
    for figure in FIGURES:
        lines = [line for line in done.stdout.splitlines() if line.startswith(f"| {figure}")]
        assert lines, f"no line tells {figure!r}:\n{done.stdout}"
        for line in lines:
            ours, peer = (cell.strip() for cell in line.split("|")[2:4])
            assert ours, line
            assert peer, line


@pytest.mark.browser
@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.timeout(100)
def test_a_quick_bench_of_large_files_prints_every_figure() -> None:
    require("redis-server")
    if find_chromium() is None:
        require("chromium")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "big"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    for figure in BIG_FIGURES:
        assert f"\n| {figure}" in done.stdout, f"no line tells {figure!r}:\n{done.stdout}"


def test_an_unknown_subject_is_refused_by_name() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", "luck"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.returncode == 2
    assert "there is no 'luck'" in done.stderr
