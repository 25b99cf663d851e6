"""What each address takes and answers, as data: the source of the OpenAPI document.

The schemas of what travels come from the types that the code itself uses; what is written by hand
in the three parts is held against the routes and against real answers by
tests/accept/test_openapi.py.
"""

from __future__ import annotations

from typing import Final

from server.accept.described.other_operations import OTHER_OPERATIONS
from server.accept.described.room_operations import ROOM_OPERATIONS
from server.accept.described.table_operations import TABLE_OPERATIONS

OPERATIONS: Final = (*ROOM_OPERATIONS, *TABLE_OPERATIONS, *OTHER_OPERATIONS)
