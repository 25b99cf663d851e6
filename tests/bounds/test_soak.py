"""The soak works: a short one, as `make soak` has it for ten minutes."""

from __future__ import annotations

import pytest

from bench.processes import allow_many_files
from tests.bounds.measured import tell
from tests.bounds.soak import soak

pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(200)]

SECONDS = 25


async def test_after_a_while_of_everything_nothing_has_grown_and_nothing_is_left() -> None:
    allow_many_files()
    tell(await soak(SECONDS))
