"""The AsyncAPI document is true: of the types in the code, of what is said, and in itself."""

from __future__ import annotations

import json
from typing import Any, get_args

import jsonschema
import pytest

from server.accept.described.asyncapi import asyncapi
from server.app import HUB
from server.document import messages
from tests.accept.client import Node
from tests.accept.conftest import StartNode
from tests.accept.owned import owned_room
from tests.room_client import Message, table

DOCUMENT = json.loads(json.dumps(asyncapi()))
ROOM = DOCUMENT["channels"]["room"]
DIRECTIONS = {"tell": messages.ServerMessage, "listen": messages.ClientMessage}
SAID = {"id": "0190a3b2-0000-4000-8000-000000000001", "body": "hello"}


def resolve(reference: str) -> Any:
    found = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def schemas_of(operation: str) -> dict[str, Any]:
    """The schema of each message that goes in this direction, by its `type`."""
    found = {}
    for reference in DOCUMENT["operations"][operation]["messages"]:
        message = resolve(resolve(reference["$ref"])["$ref"])
        if "name" in message:
            found[message["name"]] = message["payload"]
    return found


def check(operation: str, message: Message) -> None:
    """Hold a message to the document, strictly: it has no field that is not described."""
    schema = schemas_of(operation)[message["type"]]
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole).validate(message)
    assert set(message) <= set(resolve(schema["$ref"])["properties"])


def test_every_reference_leads_somewhere() -> None:
    references = []

    def collect(value: Any) -> None:
        if isinstance(value, dict):
            references.extend([value["$ref"]] if "$ref" in value else [])
            value = list(value.values())
        if isinstance(value, list):
            for each in value:
                collect(each)

    collect(DOCUMENT)
    assert references
    for reference in references:
        assert resolve(reference)
    used = {each.rpartition("/")[2] for each in references}
    assert set(DOCUMENT["components"]["schemas"]) <= used


def test_it_has_what_asyncapi_asks_for() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= set(DOCUMENT["info"])
    assert ROOM["address"] == "/ws/{uuid}"
    assert set(ROOM["parameters"]) == {"uuid"}
    actions = {name: each["action"] for name, each in DOCUMENT["operations"].items()}
    assert actions == {"tell": "send", "listen": "receive"}
    for schema in DOCUMENT["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("operation", DIRECTIONS)
def test_it_has_every_message_of_the_code_with_every_field_and_no_others(operation: str) -> None:
    kinds = {str(kind.__struct_config__.tag): kind for kind in get_args(DIRECTIONS[operation])}
    described = schemas_of(operation)
    assert set(described) == set(kinds)
    for name, kind in kinds.items():
        schema = resolve(described[name]["$ref"])
        assert set(schema["properties"]) == {"type", *kind.__struct_fields__}
        assert "type" in schema["required"]


async def test_the_node_serves_it(node: Node) -> None:
    async with node.http.get("/api/asyncapi.json") as response:
        assert response.status == 200
        assert await response.json() == DOCUMENT


async def test_all_that_is_really_said_is_as_it_is_described(start_node: StartNode) -> None:
    node = await start_node()
    room = await owned_room(node)
    viewer, other = await node.join(room.uuid), await node.join(room.uuid)
    said: list[Message] = []

    async def say(kind: str, **fields: Any) -> None:
        said.append({"type": kind, **fields})
        await viewer.say(kind, **fields)

    await say("key", key=room.owner)
    await viewer.expect("role")
    await say("me", name="Otter", color=3)
    await say("chat", **SAID)
    await other.until(lambda m: m["type"] == "chat" and bool(m["messages"]))
    await say("chat", id=SAID["id"], body="")
    await viewer.expect_error("blank_message")
    await say("point", row=7)
    await say("point", row=None)
    await other.expect("point", row=None)
    await say("peek", page_no=2)
    await viewer.expect("page", peek=True)
    await say("follow")
    await say("page", page_no=3)
    await other.shows(3)
    await say("version", version=1)
    await other.settles(lambda v: v.registers["document"]["version"] == 1)
    await say("dialect", delimiter=",", header=False)
    await other.settles(lambda v: v.registers["document"]["dialect"]["delimiter"] == ",")
    data = table(4000)
    await say("upload", name="third.tsv", size=len(data), replace=True)
    await viewer.expect("ack")
    await viewer.send_chunks(data)
    await other.settles(lambda v: v.registers.get("upload") is not None)
    await say("upload_end")
    await viewer.expect("ack", done=True)
    await say("upload", name="fourth.tsv")
    await viewer.expect("ack")
    await say("upload_cancel")
    await say("heartbeat")
    await say("sync", epoch="another", rev=0, chat_id="")
    await viewer.expect("chat", whole=True)
    await room.ask("PUT", "/life", json={"seconds": 3600})
    patient = await (await start_node(heartbeat=0.2)).join()
    await patient.expect("heartbeat")
    await node.app[HUB].drain(0)
    await viewer.expect("bye")
    for message in said:
        check("listen", message)
    heard = [viewer.hello, *viewer.seen, *other.seen, *patient.seen]
    for message in heard:
        check("tell", message)
    assert {message["type"] for message in said} == set(schemas_of("listen"))
    assert {message["type"] for message in heard} == set(schemas_of("tell"))
    registers = {name for m in heard if m["type"] == "state" for name in m["set"]}
    assert {
        "document",
        "page",
        "upload",
        "versions",
        "mode",
        "keyed",
        "invited",
        "life",
    } == registers
