"""Something new is one file and one line of a registry: one of each kind, from a folder outside of aios_db.

Architectures are in tests/architectures/test_registry.py.
"""

from __future__ import annotations

import importlib.util
import inspect
import io
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import aios_db
from aios_db.engine.backends import registry as backends
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.quantization import methods
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.importers import formats, import_files
from aios_db.lifecycle.llm import client
from aios_db.lifecycle.llm.protocol import Request
from aios_db.migrations import database
from aios_db.migrations import registry as migrations
from aios_db.schema import filters
from aios_db.schema.config import Config, CpuConfig, EngineConfig, LlmConfig, QuantizationConfig
from aios_db.schema.database import FORMAT_VERSION
from aios_db.udfs import registry as functions

ModuleMaker = Callable[[str, str], ModuleType]
NEXT = FORMAT_VERSION + 1


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleMaker:
    """Make a module of a text, to be imported by its name."""

    def make(name: str, text: str) -> ModuleType:
        path = tmp_path / f"{name.rpartition('.')[2]}.py"
        path.write_text(text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        made = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, made)
        spec.loader.exec_module(made)
        return made

    return make


def test_a_back_end(module: ModuleMaker, minilm_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(
        "counting",
        "from aios_db.engine.backends.standard import Standard\n"
        "prepared = []\n"
        "class Counting(Standard):\n"
        "    def prepare(self, program, precision, threads):\n"
        "        prepared.append(precision)\n"
        "        return super().prepare(program, precision, threads)\n",
    )
    monkeypatch.setitem(backends.BACKENDS, "counting", "counting:Counting")
    new, old = (
        ArrowEngine(minilm_dir, cpu=CpuConfig(backend=name, precision="fp32")).encode(["a text"])
        for name in ("counting", "standard")
    )
    assert "fp32" in made.prepared
    np.testing.assert_allclose(new, old, atol=1e-6)


def test_a_sql_function(module: ModuleMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(
        "words",
        "import pyarrow as pa\n"
        "from aios_db.udfs.functions import ScalarFunction\n"
        "from aios_db.udfs.types import BIGINT, VARCHAR\n"
        "def count_words(store, texts):\n"
        "    return pa.array([len(text.split()) for text in texts.to_pylist()], pa.int64())\n"
        "FUNCTIONS = (ScalarFunction('aios_count_words', [VARCHAR], BIGINT, count_words),)\n",
    )
    monkeypatch.setattr(functions, "FUNCTIONS", (*functions.FUNCTIONS, *made.FUNCTIONS))
    with aios_db.connect(":memory:") as con:
        assert con.execute("SELECT aios_count_words('three short words')").fetchall() == [(3,)]


def test_an_importer(module: ModuleMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = module(
        "fortune",
        "from aios_db.importers.base import Format, Row\n"
        "def read(source):\n"
        "    sayings = source.path.read_text('utf-8').split('\\n%\\n')\n"
        "    for number, saying in enumerate(sayings, 1):\n"
        "        fields = {'text': saying.strip(), 'text_embedding': [1.0] * 384}\n"
        "        yield Row(fields, f'{source.name}:{number}', number / len(sayings))\n"
        "FORTUNE = Format('fortune', lambda source: source.suffix == '.fortune', read)\n",
    )
    monkeypatch.setattr(formats, "FORMATS", (made.FORTUNE, *formats.FORMATS))
    file = tmp_path / "old.fortune"
    file.write_text("Measure twice.\n%\nCut once.\n", encoding="utf-8")
    with aios_db.connect(":memory:") as con:
        report = import_files(con, [file])
        assert report.stored == 2
        assert con.execute("SELECT text FROM memories ORDER BY text").fetchall() == [
            ("Cut once.",),
            ("Measure twice.",),
        ]


def test_a_migration(module: ModuleMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"m{NEXT:04d}_a_note"
    module(
        f"aios_db.migrations.{name}",
        "from aios_db.migrations.registry import migration\n"
        "@migration\n"
        "def steps(database):\n"
        "    (database / 'note').write_text('kept')\n"
        "    yield 'a note'\n",
    )
    monkeypatch.setattr(migrations, "MODULES", (*migrations.MODULES, name))
    monkeypatch.setattr(database, "FORMAT_VERSION", NEXT)
    path = tmp_path / "agent.aios"
    aios_db.connect(path).close()
    try:
        done = database.migrate(path)
    finally:
        del migrations._registered[NEXT]
    assert [each.name for each in done] == [name]
    assert (path / "note").read_text() == "kept"
    assert json.loads((path / "aios.json").read_text())["format_version"] == NEXT


def test_a_language_models_provider(
    module: ModuleMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(
        "aios_echo",
        "from aios_db.lifecycle.llm.protocol import Answer\n"
        "class Echo:\n"
        "    endpoint = 'here'\n"
        "    def __init__(self, config):\n"
        "        self.model = f'echo:{config.model}'\n"
        "    def complete(self, request, max_tokens):\n"
        "        return Answer(request.user, 1, 1)\n",
    )
    monkeypatch.setitem(client.PROVIDERS, "echo", "aios_echo:Echo")
    opened = client.client_of(LlmConfig(provider="echo", model="parrot"), tmp_path)  # type: ignore[arg-type]
    assert opened is not None
    assert opened.model == "echo:parrot"
    asked = Request("say it again", '{"said": "tea"}', {"required": ["said"]}, ())
    assert opened.ask(asked) == {"said": "tea"}
    with pytest.raises(aios_db.ProgrammingError, match="'ekko' is unknown; there are claude, ollama"):
        client.client_of(LlmConfig(provider="ekko", model="parrot"), tmp_path)  # type: ignore[arg-type]


def test_an_encoder_of_the_joint_space(module: ModuleMaker) -> None:
    image = pytest.importorskip("PIL.Image")
    module(
        "quarters",
        "import numpy as np\n"
        "import aios_db\n"
        "def seen(pictures):\n"
        "    n, half = len(pictures), pictures.shape[1] // 2\n"
        "    return pictures.reshape(n, 2, half, 2, half, 3).astype(np.float32).mean((2, 4)).reshape(n, 12)\n"
        "ENCODER = aios_db.MediaEncoder('quarters', 'image', 12, seen, size=32)\n",
    )
    red = io.BytesIO()
    image.new("RGB", (40, 32), (250, 0, 0)).save(red, "PNG")
    config = Config(engine=EngineConfig(image_model="quarters:ENCODER"))
    with aios_db.connect(":memory:", config=config) as con:
        ((vector,),) = con.execute("SELECT embed_image(?::BLOB)", [red.getvalue()]).fetchall()
    assert len(vector) == 12
    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-6)
    assert min(vector[0::3]) > max(vector[1::3])  # red and not green, in each quarter


def test_a_filter_is_read_by_python_and_sql() -> None:
    """What is in `Filters` is an argument of recall in SQL, and an option in Python."""
    names = set(filters.Filters.__annotations__)
    recall = next(each for each in functions.sql_objects() if each.name == "recall")
    assert names == set(filters.CONDITIONS) and len(names) > 10
    assert all(f"{name} := NULL" in recall.statement for name in names)
    assert names < set(inspect.signature(aios_db.Connection.recall).parameters)


def test_a_method_of_quantization(minilm_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rough = methods.Method("rough rounding", together=False, steps=0)
    monkeypatch.setitem(methods.METHODS, "rough", rough)
    config = replace(QuantizationConfig(), target="int8", method="rough", calibration_tokens=100)
    told: set[str] = set()
    texts = [f"text number {number} about boats" for number in range(40)]
    report = quantize_model(
        minilm_dir, tmp_path / "q", calibration=texts, config=config,
        progress=lambda doing, done, total: told.add(doing),
    )  # fmt: skip
    assert told >= {"rough rounding"} and "distilling" not in told
    assert report.method == "rough"
