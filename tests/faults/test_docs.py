"""docs/FAULTS.md tells what the suite does: its tests, and the times that it insists on."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.faults.limits import LIMITS

HERE = Path(__file__).parent
TEXT = (HERE.parents[1] / "docs" / "FAULTS.md").read_text("utf-8")
# Of the proxy and the page itself, not of faults.
BESIDE = {"test_docs.py", "test_proxy.py"}


# Of several Redis; that all is as it should be there is no fault.
CLUSTER = HERE.parent / "cluster"
NO_FAULTS = {
    "test_rooms_of_all_primaries_work_on_two_nodes",
    "test_a_node_comes_in_with_a_password_or_as_a_user_with_tls_and_without",
    "test_a_node_comes_in_with_its_certificate",
    "test_what_a_user_of_redis_needs_is_told",
    "test_a_node_comes_into_a_cluster_with_one_password_for_all_its_servers",
    "test_a_node_follows_sentinels_with_their_password_and_that_of_the_servers",
}


def names_in(directory: Path) -> set[str]:
    return {
        node.name
        for path in directory.glob("test_*.py")
        if path.name not in BESIDE
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


def test_each_test_of_the_suite_is_told_and_none_that_is_gone() -> None:
    told = set(re.findall(r"`(test_\w+)`", TEXT))
    faults = names_in(HERE) - {"test_every_order_is_played_once"}
    cluster = names_in(CLUSTER)
    assert cluster >= NO_FAULTS
    assert told == faults | (cluster - NO_FAULTS)


def test_each_limit_is_told() -> None:
    rows = [line.split("|") for line in TEXT.splitlines() if line.startswith("| ")]
    untils = [(cells[1].strip(), cells[3].strip()) for cells in rows if len(cells) > 4]
    aliases = {
        "message lost": "published message lost",
        "message lost, then a change": "published message lost",
        "message twice or late": "published message twice",
        "Redis restarted": "Redis restarted with its data",
    }
    for fault, seconds in LIMITS.items():
        begins = aliases.get(fault, fault)
        found = [until for name, until in untils if name.startswith(begins)]
        assert found, f"no row begins with {begins!r}"
        assert any(f"{seconds:g} s" in until or until == "at once" for until in found), found
