"""What the documents show is run, and what there is to document is in them."""

from __future__ import annotations

import contextlib
import io
import json
import re
import runpy
import shlex
import shutil
from pathlib import Path

import pytest

import aios_db
from aios_db.cli import main
from aios_db.importers import FORMATS
from aios_db.schema import errors
from aios_db.schema.filters import CONDITIONS
from aios_db.udfs.registry import TABLES, sql_objects

ROOT = Path(__file__).parents[2]


def page(name):
    return (ROOT / name).read_text("utf-8")


def blocks(name, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page(name), re.DOTALL | re.MULTILINE)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch, minilm_dir):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(minilm_dir.parent))
    monkeypatch.delenv("AIOS_DB", raising=False)


RUN = ("python", "importing", "cookbook", "security", "federation", "lifecycle")
PAGES = ["README.md", *(f"docs/{name}.md" for name in RUN)]


@pytest.mark.parametrize("name", PAGES)
def test_python_runs(name, capsys):
    code = blocks(name, "python")
    assert code
    names: dict[str, object] = {}
    for block in code:
        exec(compile(block, name, "exec"), names)
    assert capsys.readouterr().out


def test_the_sql_of_the_life_of_a_memory_runs_after_its_python(capsys):
    names = {}
    for block in blocks("docs/lifecycle.md", "python"):
        exec(compile(block, "lifecycle.md", "exec"), names)
    assert capsys.readouterr().out.splitlines() == ["committed 1 4", "Packed(memories=2, kept=0)"]
    statements = [
        each for block in blocks("docs/lifecycle.md", "sql") for each in block.split(";") if "FROM" in each
    ]
    assert len(statements) >= 8
    for statement in statements:
        names["con"].execute(statement).fetchall()


def test_readme_python_answers_its_questions(capsys):
    exec(compile(blocks("README.md", "python")[0], "README.md", "exec"), {})
    first, second = [
        line for line in capsys.readouterr().out.splitlines() if re.match(r"-?\d+\.\d\d  ", line)
    ]
    assert first.endswith("Ada: The spare key is under the blue pot.")
    assert second.endswith("Bo: The blue pot stands behind the boathouse.")


def test_readme_shell_commands_run(tmp_path, capsys):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    commands = [shlex.split(line) for line in "".join(blocks("README.md", "sh")).splitlines()]
    commands = [command[1:] for command in commands if command[0] == "aios"]
    assert len(commands) >= 4
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err


def test_tutorial_shell_commands_run_after_its_python(capsys):
    names: dict[str, object] = {}
    for block in blocks("docs/tutorial.md", "python"):
        exec(compile(block, "docs/tutorial.md", "exec"), names)
    for line in "".join(blocks("docs/tutorial.md", "sh")).splitlines():
        assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    assert "We moved the spare key" in capsys.readouterr().out


def test_operations_shell_and_python_run(capsys):
    commands = [shlex.split(line)[1:] for line in "".join(blocks("docs/operations.md", "sh")).splitlines()]
    assert len(commands) >= 6
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err
    for block in blocks("docs/operations.md", "python"):
        exec(compile(block, "docs/operations.md", "exec"), {})
    assert capsys.readouterr().out.endswith(
        "1 memories\n1 exported\n1 memories taken in\nTrue 1 0\nTrue - 1 memories checked\n"
    )


def test_readme_figures_are_those_of_the_benchmarks():
    benchmarks = page("docs/benchmarks.md")
    section = page("README.md").split("## Measured")[1].split("\n## ")[0]
    rows = [row.strip("| ").split(" | ") for row in section.splitlines() if row.startswith("| ")]
    assert len(rows) > 5
    for what, figures, script in rows[2:]:
        assert f"python bench/{script.strip('`')}" in benchmarks, what
        assert (ROOT / "bench" / script.strip("`")).is_file()
        for figure in re.findall(r"\d*\.\d+", figures):
            assert re.search(rf"(?<!\d)0?{re.escape(figure)}0*(?!\d)", benchmarks), f"{what}: {figure}"


def test_readme_targets_are_in_the_makefile():
    makefile = page("Makefile")
    for target in re.findall(r"^make (\w+)", page("README.md"), re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_sql_runs_and_names_everything(tmp_path):
    with aios_db.connect(tmp_path / "docs.aios") as con:
        for block in blocks("docs/sql.md", "sql"):
            con.execute(block)
            if con.execute(block).description:
                con.fetchall()
    text = page("docs/sql.md")
    for item in sql_objects():
        assert f"`{item.name}" in text, f"docs/sql.md does not mention {item.name}"
    for table in TABLES:
        assert f"`{table}`" in text
    for name, condition in CONDITIONS.items():
        assert f"| `{name}` | {condition.doc} |" in text


def test_command_line_reference_is_up_to_date():
    lines = runpy.run_path(str(ROOT / "docs" / "make_cli.py"))["reference"]()
    assert page("docs/cli.md") == "\n".join(lines) + "\n", "run: python docs/make_cli.py > docs/cli.md"


def test_python_page_names_every_error_and_function():
    text = page("docs/python.md")
    public = [name for name in vars(errors) if isinstance(getattr(errors, name), type)]
    general = {"Error", "Warning", "DatabaseError", "IntegrityError", "InternalError"}
    for name in [*set(public) - general - {"annotations"}, "connect", "attach", "detach"]:
        assert re.search(rf"`{name}[`(]", text), f"docs/python.md does not mention {name}"


def test_importing_page_names_every_format():
    for known in FORMATS:
        assert f"| `{known.name}` |" in page("docs/importing.md")


@pytest.mark.parametrize(
    "name", ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)#:]+)\)", page(name)):
        assert (ROOT / name).parent.joinpath(target).exists(), f"{name}: {target}"


def test_examples_answer_the_questions(tmp_path):
    """The demo: what `make demo` imports and asks, and that the first answers are the right ones."""
    database = str(tmp_path / "demo.aios")
    assert main(["import", str(ROOT / "examples" / "conversations"), "--db", database]) == 0
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        assert main(["sql", page("examples/questions.sql"), "--db", database, "--format", "json"]) == 0
    results = [json.loads(f"[{result}") for result in printed.getvalue().split("[\n")[1:] if result.strip()]
    first = dict(next(iter(rows[0].items())) for rows in results)
    assert first["Who moved the key, and where does it hang?"].startswith(
        "Mira: No, the key moved: it hangs inside"
    )
    assert first["Which colleague of Noor plays in a quartet?"].startswith("Samir!")
    assert "Dr. Samir Haddad. He found two comets" in first["Who discovered comets?"]
    assert "afraid of water" in first["Who is afraid of water? (by meaning alone)"]
    assert first["Who talks about the engine?"] in {"Mira", "Tomas"}
    assert first["What links the memories?"] == "next_in_session"
    for answer in first.values():
        assert answer[:60] in page("README.md"), "paste what `make demo` prints into the README"
