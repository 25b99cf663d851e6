"""Ctrl+C while the program still loads its parts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.command.program import tablecast


@pytest.mark.parametrize(
    ("part", "arguments"),
    [
        pytest.param("argparse", ["push", "trips.tsv"], id="what every command needs"),
        pytest.param("aiohttp_jinja2", ["serve", "--port", "0"], id="what a server needs besides"),
    ],
)
async def test_ctrl_c_during_the_imports_ends_quietly(
    part: str, arguments: list[str], tmp_path: Path
) -> None:
    """Python itself would show where in its importers it was."""
    tmp_path.joinpath(f"{part}.py").write_text(
        "import signal\n"
        "signal.raise_signal(signal.SIGINT)\n"
        "raise SystemExit('it was not interrupted')\n"
    )
    end = await tablecast(*arguments, environment={"PYTHONPATH": str(tmp_path)})
    assert (end.code, end.out, end.errors) == (130, "", "")
