"""The figures in docs/BENCHMARKS.md come from runs, each subject's in its own section."""

from __future__ import annotations

import pytest

from bench.__main__ import ON_DEMAND, SUBJECTS
from bench.results import DOCUMENT, with_section


@pytest.mark.parametrize("subject", [*SUBJECTS, *ON_DEMAND])
def test_every_subject_has_one_section_that_a_run_replaces(subject: str) -> None:
    before = DOCUMENT.read_text("utf-8")
    after = with_section(before, subject, "| a | b |")
    assert after != before
    assert with_section(after, subject, "| a | b |") == after
    assert after.count("<!-- bench ") == before.count("<!-- bench ")
    for name in {*SUBJECTS, *ON_DEMAND} - {subject}:
        begin = before.index(f"<!-- bench {name} -->")
        assert before[begin : before.index("<!-- end -->", begin)] in after


def test_a_subject_without_a_section_is_refused() -> None:
    with pytest.raises(ValueError, match="0 sections"):
        with_section("nothing", "cutter", "| a | b |")
