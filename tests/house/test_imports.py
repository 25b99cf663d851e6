"""The map of the house: data flows one way, and so do the imports."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SERVER = Path(__file__).parents[2] / "server"

# What the doors may import.
_DOORS = {
    "server.live",
    "server.document",
    "server.fanout.backend",
    "server.fanout.changes",
    "server.fanout.ownership",
    "server.fanout.tasks",
    "server.fanout.turns",
    "server.fanout.versions",
    "server.errors",
    "server.settings",
    "server.counts",
    "server.logs",
}

# What each room may import of the others, most general name that is allowed. A room may always
# import itself; `server` alone stands for the package with its docstring.
ALLOWED = {
    "server": set[str](),
    "server.errors": set[str](),
    "server.kinds": set[str](),
    "server.settings": {"server.kinds", "server.redis_url"},
    "server.redis_url": set[str](),
    "server.counts": set[str](),
    "server.logs": set[str](),
    "server.traces": {"server.settings"},
    "server.document": {"server.errors"},
    "server.fanout": {"server.errors", "server.redis_url", "server.counts", "server.logs"},
    "server.live": {
        "server.document",
        "server.fanout.backend",
        "server.fanout.changes",
        "server.fanout.versions",
        "server.errors",
        "server.settings",
        "server.counts",
        "server.logs",
    },
    # Every request comes through the edge; a file's way into its room knows no door.
    "server.accept.edge": _DOORS,
    "server.accept.files": _DOORS | {"server.accept.edge"},
    "server.accept": _DOORS,
    "server.app": {
        "server.accept",
        "server.live",
        "server.document",
        "server.fanout",
        "server.errors",
        "server.settings",
        "server.traces",
    },
    "server.command": {"server.errors", "server.settings"},
    "server.command.serve": {
        "server.app",
        "server.command",
        "server.settings",
        "server.redis_url",
        "server.logs",
    },
    "server.__main__": {"server.command"},
}

# Libraries that only these modules may know.
KEEPERS = {
    "redis": (
        "server.fanout.blocks",
        "server.fanout.bus",
        "server.fanout.calls",
        "server.fanout.clock",
        "server.fanout.cluster",
        "server.fanout.connect",
        "server.fanout.leases",
        "server.fanout.level",
        "server.fanout.link",
        "server.fanout.lookout",
        "server.fanout.redis",
        "server.fanout.scripts",
        "server.fanout.slots",
        "server.fanout.source",
        "server.fanout.subscriptions",
        "server.fanout.writer",
    ),
    "asyncio": (
        "server.fanout",
        "server.live",
        "server.accept",
        "server.app",
        "server.command",
    ),
    "aiohttp": ("server.live", "server.accept", "server.app", "server.command"),
}

# Calls that make something which belongs to an event loop; importing a module must make none.
OF_A_LOOP = {"Event", "Lock", "Condition", "Semaphore", "BoundedSemaphore", "Queue", "Future"}
OF_A_LOOP |= {"create_task", "get_event_loop", "new_event_loop", "run", "ensure_future"}


def name_of(path: Path) -> str:
    parts = path.relative_to(SERVER.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(SERVER.rglob("*.py"))}


def imports(name: str) -> Iterator[str]:
    """Full names of all that the module `name` imports, also inside functions."""
    for node in ast.walk(ast.parse(MODULES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are written in full"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else str(node.module)


def within(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def room_of(name: str) -> str:
    """The entry of ALLOWED that `name` lives in: the longest that fits."""
    return max((room for room in ALLOWED if within(name, room)), key=len)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name):
    room = room_of(name)
    assert room != "server" or name == "server", f"{name} is in no room of the map"
    allowed = ALLOWED[room] | {room}
    wrong = {
        imported
        for imported in imports(name)
        if within(imported, "server")
        and imported != "server"
        and not any(within(imported, each) for each in allowed)
    }
    assert not wrong, f"{name} must not import {wrong}; it may import {sorted(allowed)}"


@pytest.mark.parametrize("library", KEEPERS)
def test_a_library_stays_with_its_keepers(library):
    users = {name for name in MODULES if any(within(each, library) for each in imports(name))}
    strangers = {
        name for name in users if not any(within(name, keeper) for keeper in KEEPERS[library])
    }
    assert not strangers, f"only {KEEPERS[library]} may import {library}"


@pytest.mark.parametrize("name", MODULES)
def test_importing_a_module_makes_nothing_that_belongs_to_an_event_loop(name):
    def calls(node: ast.AST) -> Iterator[ast.Call]:
        """Calls that run on import: not those in the bodies of functions."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                continue
            if isinstance(child, ast.If) and "__main__" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Call):
                yield child
            yield from calls(child)

    made = [
        ast.unparse(call)
        for call in calls(ast.parse(MODULES[name].read_text()))
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "asyncio"
        and call.func.attr in OF_A_LOOP
    ]
    assert not made


def test_the_map_names_no_room_that_is_gone():
    assert set(ALLOWED) <= {room_of(name) for name in MODULES}
