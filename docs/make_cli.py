"""Print the command-line reference from the commands' own help: `python docs/make_cli.py > docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from aios_db.cli.app import cli

WIDTH = 100
INTRODUCTION = """\
# Command line

`aios` works on one database directory: `--db`, else `$AIOS_DB`, else `./agent.aios`. `init`, `remember`,
`import`, `restore`, `cards new`, `cards import`, `fusion fit` and `federation serve`, `pull` and `sync`
make it when it is not there.

Results go to standard output, everything else (progress, warnings, errors) to standard error. An error is one
line; `--verbose` before the command adds the traceback. `--json` makes the output one JSON document
(`aios sql`: one array for each statement that has rows).

| exit status | meaning |
| --- | --- |
| 0 | done |
| 1 | failed: one line on standard error says what, where, and what to do |
| 2 | wrong usage: an unknown command or option, an argument that is missing |
| 3 | `aios import`: imported, but some rows were set aside; or stored, and links could not be written |
| 130 | interrupted with Ctrl-C |
| 143, 129 | ended by SIGTERM, or by SIGHUP (its terminal was closed), and as in order as by Ctrl-C |

`aios sql` without a statement is a prompt when it is at a terminal. Statements end with `;`, on one line
or over several; the arrow keys bring earlier ones back (kept in `$XDG_STATE_HOME/aios_db/history`), Tab
completes names of tables, columns and functions. Ctrl-C interrupts a running statement or drops the one
being typed, an error does not end the session, and `.quit`, `quit`, `exit` or Ctrl-D does.

| command | does |
| --- | --- |
| `.tables [PATTERN]` | list tables and views |
| `.schema [NAME]` | list the columns of all of them, or of one |
| `.functions` | list the functions that aios_db adds |
| `.mode NAME` | print rows as `table`, `line` (one value per line), `csv`, `json` or `markdown` |
| `.help` | list these |

On a terminal a table is laid out for its width: long text is folded, columns that are all NULL are left
out when there is no room, and a result too wide for that is printed one value per line; a note says so.
The first 200 rows are shown. In tables and lines vectors and binary data are abbreviated. Into a pipe or
a file a table has all rows and whole texts; `csv` and `json` have every value in full everywhere.

This page is made by `docs/make_cli.py` from the commands' help.
"""


def reference() -> Iterator[str]:
    """Yield the page line by line."""
    yield from INTRODUCTION.splitlines()
    yield from _command(cli, "aios", None)


def _command(command: click.Command, path: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(
        command,
        parent=parent,
        info_name=path.rpartition(" ")[2],
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    )
    yield ""
    yield f"## {path}"
    yield ""
    yield "```text"
    yield from (line.rstrip() for line in command.get_help(context).splitlines())
    yield "```"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None
            yield from _command(child, f"{path} {name}", context)


if __name__ == "__main__":
    sys.stdout.write("\n".join(reference()) + "\n")
