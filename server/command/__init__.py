"""The command line: `tablecast`, which is also `python -m server`. docs/COMMAND_LINE.md tells it.

Exit codes: 0 done, 1 refused or failed, 2 used wrongly, 130 interrupted. A mistake of the one who
types is one sentence on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Coroutine, Sequence
from importlib import metadata
from typing import Any, Final, NoReturn

from server.command.console import Console, muffle
from server.command.failures import Failure
from server.command.link import DEFAULT, KEY_VARIABLE, VARIABLE, chosen_link

INTERRUPTED: Final = 130

_COMMANDS: Final = ("serve", "push", "append")
_OF_ALL: Final = ("-h", "--help", "--version")

_ABOUT: Final = "Puts a table in front of a group: everyone sees the same page of it."
_EXAMPLES: Final = f"""\
examples:
  tablecast                                serve on {DEFAULT}
  tablecast push trips.tsv                 show a file, print the link
  tablecast push trips.tsv --to LINK       the same in a room that people have open
  some-job | tablecast append - --to LINK  add rows while they come

Each command tells more: tablecast push --help
"""
_TO: Final = (
    "link of a room, or address of a server, which makes a new room "
    f"(default: ${VARIABLE}, else {DEFAULT})"
)

_KEY: Final = (
    "key of the room, for one where only presenters may do this "
    f"(default: what stands behind # in the link, else ${KEY_VARIABLE})"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = _with_default(sys.argv[1:] if argv is None else argv)
    try:
        parser = _parser()
        if arguments[0] not in (*_COMMANDS, *_OF_ALL):
            parser.error(
                f"there is no command {arguments[0]!r}. A file is shown by: tablecast push FILE"
            )
        return _run(parser.parse_args(arguments))
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        _flush()


def _run(arguments: argparse.Namespace) -> int:
    console = Console(quiet=getattr(arguments, "quiet", False))
    try:
        match arguments.command:
            case "serve":
                # Imported here because only a server needs all of its parts.
                from server.command import serve

                given = ("host", "port", "redis_url")
                serve.run({name: getattr(arguments, name) for name in given})
            case "push":
                from server.command.push import push

                link = chosen_link(arguments.to, arguments.key)
                _finish(
                    push(
                        link,
                        arguments.file,
                        arguments.name,
                        watch=arguments.watch,
                        replace=arguments.replace,
                        console=console,
                    ),
                    console,
                )
            case "append":
                from server.command.append import append

                link = chosen_link(arguments.to, arguments.key)
                _finish(append(link, arguments.file, arguments.name, console=console), console)
    except Failure as failure:
        console.error(failure.message)
        return failure.exit_code
    return 0


def _finish(command: Coroutine[Any, Any, None], console: Console) -> None:
    try:
        asyncio.run(command)
    finally:
        # What Ctrl+C leaves of a progress line would stand before the shell's prompt.
        console.clear()


def _flush() -> None:
    """Write what is left, so that a reader who went away is no traceback at the end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            muffle(stream)


# What can be typed


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}\nTry: {self.prog} --help\n")


def _with_default(arguments: Sequence[str]) -> list[str]:
    """`serve` where no command is named."""
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in _OF_ALL):
        return ["serve", *arguments]
    return list(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="tablecast",
        description=_ABOUT,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tablecast {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_push(commands)
    _add_append(commands)
    return parser


def _add_serve(commands: Any) -> None:
    serve = _add(
        commands,
        "serve",
        "run a server (what happens without a command, too)",
        "Runs one node until Ctrl+C or SIGTERM; then its viewers are sent to other nodes.",
        """\
examples:
  tablecast serve                                   rooms in this process's memory
  tablecast serve --host 0.0.0.0 --port 80          for everyone in the network
  tablecast serve --redis redis://localhost:6379/0  rooms in Redis, shared by all nodes

Every setting is also an environment variable: see docs/SETTINGS.md.
""",
    )
    serve.add_argument("--host", help="address to listen on (default 127.0.0.1)")
    serve.add_argument("--port", help="port to listen on (default 8080)")
    serve.add_argument(
        "--redis", metavar="URL", dest="redis_url", help="Redis URL (default: keep in memory)"
    )


def _add_push(commands: Any) -> None:
    push = _add(
        commands,
        "push",
        "show a file in a room, print the link",
        "Uploads a file, shows it to everyone in the room and prints the link. What the room "
        "showed before stays until the first rows are there, and comes back if the upload fails.",
        """\
examples:
  tablecast push trips.tsv
  tablecast push trips.tsv --to http://tables.example/t/3f2504e0-4f89-41d3-9a0c-0305e82c3301
  tablecast push results.csv --watch     again whenever the file changes
  some-job | tablecast push -            the table shows while the job still writes
  link=$(tablecast push trips.tsv -q)    in a script
""",
    )
    _add_source(push)
    push.add_argument(
        "--watch", action="store_true", help="push again whenever the file changes, until Ctrl+C"
    )
    push.add_argument(
        "--replace",
        action="store_true",
        help="take the place of another file that is just arriving in the room",
    )


def _add_append(commands: Any) -> None:
    append = _add(
        commands,
        "append",
        "add rows to a room's table",
        "Adds rows to the table that a room shows, as they come; whoever is on the last page sees "
        "them arrive. Prints the link first. Where the room has no table yet, the first line "
        "names the columns.",
        """\
examples:
  tail -n 0 -f log.tsv | tablecast append - --to LINK
  some-job | tablecast append -          a new room
  tablecast append tuesday.tsv --to LINK
  tail -n +2 tuesday.tsv | tablecast append - --to LINK    without its header
""",
    )
    _add_source(append)


def _add(commands: Any, name: str, help: str, description: str, examples: str) -> Any:
    return commands.add_parser(
        name,
        help=help,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a file, or - for standard input")
    parser.add_argument("--to", metavar="URL", help=_TO)
    parser.add_argument("--key", help=_KEY)
    parser.add_argument("--name", help="name of the table (default: the name of the file)")
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="no progress and no notes, errors only"
    )


def _version() -> str:
    try:
        return metadata.version("tablecast")
    except metadata.PackageNotFoundError:
        return "(not installed)"
