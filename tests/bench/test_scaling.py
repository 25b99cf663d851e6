"""docs/SCALING.md says what the formulas say, and these hold where the parts are played."""

from __future__ import annotations

import re

import pytest

from bench import plan, results, simulate
from bench.plan import COSTS, DOCUMENT, LOAD, NODE, PLANS, Plan, reconnected

TEXT = DOCUMENT.read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The rows of the table whose first heading is this one."""
    _, _, rest = TEXT.partition(f"| {heading} |")
    lines = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def number(text: str) -> float:
    found = re.match(r"[\d,]+(\.\d+)?", text)
    assert found, text
    return float(found[0].replace(",", ""))


def test_the_table_of_plans_is_what_the_formulas_give() -> None:
    assert plan.written(TEXT) == TEXT, "`python -m bench.plan --write` brings it up to date"


def test_anyone_can_plan_for_numbers_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    (asked,) = re.findall(r"python -m bench\.plan ([\d ]+)` with your", TEXT)
    plan.main(asked.split())
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 4
    assert set(told) <= set(plan.table().splitlines())
    with pytest.raises(SystemExit):
        plan.main(["20000", "0"])


def test_the_costs_of_the_document_are_those_of_the_formulas() -> None:
    told = [number(row[1]) for row in rows("what")]
    in_us = [1e6 * each for each in (COSTS.deliver, COSTS.turn, COSTS.join, COSTS.idle)]
    of_redis = [1e6 * each for each in (COSTS.append, COSTS.publish, COSTS.present, COSTS.audit)]
    assert told == pytest.approx([*in_us, COSTS.viewer, COSTS.page, *of_redis])


@pytest.mark.parametrize(
    ("figure", "planned"),
    [
        ("fan-out: CPU a delivered page", 1e6 * COSTS.deliver),
        ("memory: of the node a viewer", COSTS.viewer / 1024),
        ("page turn, 1,000 MB beside 1 MB, cold: CPU", 1e3 * COSTS.turn),
    ],
)
def test_nothing_is_planned_cheaper_than_it_was_measured(figure: str, planned: float) -> None:
    line = re.search(
        rf"^\| {re.escape(figure)} +\|([^|]+)\|", results.DOCUMENT.read_text(), re.MULTILINE
    )
    assert line
    assert number(line[1].strip()) <= planned


def test_what_the_text_says_of_storms_and_spreading_follows_from_the_costs() -> None:
    for nodes, seconds in rows("nodes before"):
        people = int(nodes) * NODE
        told = f"{reconnected(people, int(nodes), simulate.JITTER):.1f} s"
        assert seconds == told
    assert f"lets {LOAD / COSTS.join:,.0f} people a second in" in TEXT
    assert f"{1 / COSTS.join:,.0f} at most" in TEXT
    assert f"{100_000 / (10 * LOAD / COSTS.join):.0f} seconds on 10 nodes" in TEXT
    assert f"over {Plan(2_000, 20).spread(100):.0f} of 100 nodes" in TEXT
    assert f"{NODE:,} viewers are {NODE * COSTS.viewer / 1e6:.0f} MB" in TEXT


@pytest.mark.parametrize("each", PLANS)
def test_every_plan_keeps_its_own_bounds(each: Plan) -> None:
    assert each.people <= each.nodes * NODE
    assert each.busy(each.nodes) <= LOAD
    assert each.redis <= each.shards * LOAD


def test_rooms_that_stay_together_never_need_more() -> None:
    for people in (1_000, 100_000, 1_000_000):
        for size in (10, 100, 1_000):
            apart, together = Plan(people, size), Plan(people, size, sticky=True)
            assert together.nodes <= apart.nodes
            assert together.redis <= apart.redis * 1.001


def test_queues_that_are_played_agree_with_the_formulas() -> None:
    service = COSTS.turn + 50 * COSTS.deliver
    delays, busy = simulate.played_turns(int(LOAD * plan.TURN_EVERY / service), service)
    assert busy == pytest.approx(LOAD, rel=0.1)
    assert sum(delays) / len(delays) == pytest.approx(1.5 * service, rel=0.15)
    for size, nodes in ((20, 100), (50, 10)):
        spread = Plan(size, size).spread(nodes)
        assert simulate.played_spread(size, nodes) == pytest.approx(spread, rel=0.1)
    for nodes in (3, 10, 100):
        formula = reconnected(nodes * NODE, nodes, simulate.JITTER)
        assert simulate.played_storm(nodes * NODE, nodes) == pytest.approx(formula, rel=0.1)
