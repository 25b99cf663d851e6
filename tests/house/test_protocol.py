"""docs/PROTOCOL.md and the code say the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from server import errors
from server.document import messages

PROTOCOL = (Path(__file__).parents[2] / "docs" / "PROTOCOL.md").read_text("utf-8")
FROM_SERVER, FROM_CLIENT = PROTOCOL.split("### Client to server")
FROM_SERVER = FROM_SERVER.split("### Server to client")[1]
FROM_CLIENT = FROM_CLIENT.split("### Registers")[0]


def tags(union: object) -> dict[str, type]:
    return {str(kind.__struct_config__.tag): kind for kind in get_args(union)}


def sections(text: str) -> dict[str, str]:
    parts = re.split(r"^#### `(\w+)`$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(
    ("union", "text"),
    [(messages.ServerMessage, FROM_SERVER), (messages.ClientMessage, FROM_CLIENT)],
    ids=["server", "client"],
)
def test_every_message_and_each_of_its_fields_is_documented(union: object, text: str) -> None:
    described = sections(text)
    kinds = tags(union)
    assert set(described) == set(kinds)
    for tag, kind in kinds.items():
        for name in kind.__struct_fields__:
            assert f"`{name}`" in described[tag], f"{tag} does not tell of {name}"


@pytest.mark.parametrize("register", [messages.Document, messages.Page, messages.Upload])
def test_every_field_of_the_registers_is_documented(register: type) -> None:
    section = PROTOCOL.split("### Registers")[1].split("### Uploads")[0]
    paragraph = section.split(f"**`{register.__name__.lower()}`**")[1].split("\n\n")[0]
    for name in register.__struct_fields__:
        assert f"`{name}`" in paragraph


def test_every_error_is_documented_with_its_status_and_whether_to_retry() -> None:
    rows = {
        code: (int(status), retry == "yes")
        for codes, status, retry in re.findall(
            r"^\| (`[^|]+`) \| (\d+) \| (yes|no) \|", PROTOCOL, flags=re.MULTILINE
        )
        for code in re.findall(r"`(\w+)`", codes)
    }
    kinds = [errors.TablecastError]
    for kind in kinds:
        kinds += kind.__subclasses__()
    abstract = {errors.Busy, errors.Refused, errors.TablecastError}
    raised = {kind.code: (int(kind.status), kind.retry) for kind in set(kinds) - abstract}
    raised["internal"] = (500, True)
    raised["method_not_allowed"] = (405, False)  # from the router
    assert rows == raised
