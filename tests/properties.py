"""How often a property is tried: a third of what it takes to be thorough, unless that is wanted.

`THOROUGH=1 make test T=tests/document` tries all of them.
"""

from __future__ import annotations

import os


def examples(thorough: int) -> int:
    """`max_examples` of a property."""
    return thorough if os.environ.get("THOROUGH") else max(1, thorough // 3)
