"""Benchmarks run from the shell, their reports keep to their schema, and what is worse is said."""

from __future__ import annotations

import json
import math
import pkgutil
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from aios_db.benchmarking.alone import with_memory
from aios_db.benchmarking.measuring import Comparison, Result, Strategy, measure
from aios_db.benchmarking.memory import Memory, Watching
from aios_db.benchmarking.operators import comparisons
from aios_db.benchmarking.report import Report, read_baseline, regressions, schema
from aios_db.benchmarking.suites import Options, check, read_texts
from aios_db.cli import main
from aios_db.config import load_config
from aios_db.schema.config import Config, EngineConfig
from aios_db.schema.errors import DataError

FAST = Result("encode", "8 texts", "int8", 8, "texts", (0.010, 0.011, 0.012), 3.0, {"cosine_mean": 0.99})
ENVIRONMENT = {
    "time": "2026-11-30T06:00:00+00:00", "aios_db": "0.1.0", "system": "x", "python": "3.11",
    "processor": "a <b>", "cores": 2, "packages": {"torch": "2.13.0"}, "configuration": {}, "device": {},
    "load": [1.0, 1.0, 1.0],
}  # fmt: skip


def written(path, *results):
    path.write_text(json.dumps(Report(ENVIRONMENT, {}, results, {}).as_json()))
    return path


def test_the_shell_writes_reports_that_keep_to_the_schema(tmp_path, capsys):
    files = {name: tmp_path / f"b.{name}" for name in ("json", "html", "markdown")}
    arguments = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    sizes = ["--batch", "2", "--length", "4", "--rounds", "2", "--no-memory"]
    assert main(["bench", "--suite", "operators", *sizes, *arguments]) == 0
    report = json.loads(files["json"].read_text())
    jsonschema.Draft202012Validator(schema()).validate(report)
    names = " ".join(each["name"] for each in report["results"])
    for operator in ("matmul", "attention", "layer norm", "dequantize", "scan", "top 10", "MaxSim"):
        assert operator in names
    scans = [each for each in report["results"] if each["name"].startswith("scan")]
    assert {each["strategy"] for each in scans} - {"compiled"} == {"numpy"}  # compiled where a compiler was
    assert all(each["accuracy"] == {"recall@10": 1.0} for each in scans)
    assert report["environment"]["packages"]["torch"].startswith("2.")
    assert report["environment"]["configuration"]["recall"]["k"] == 10
    assert {each["memory"] for each in report["results"]} == {None}
    assert files["markdown"].read_text() == capsys.readouterr().out
    assert files["html"].read_text().count("<svg") == 7
    before = json.loads(files["json"].read_text())
    before["results"][0]["ratio"] = 10.0
    before["results"][0]["seconds"]["spread"] = 0.0
    files["json"].write_text(json.dumps(before))
    assert (
        main(["bench", "--suite", "operators", *sizes, "--rounds", "1", "--baseline", str(files["json"])])
        == 1
    )
    assert (
        "worse: operators, matmul 8 x 384 x 1536, torch fp32: ratio 1.00, was 10.00"
        in capsys.readouterr().err
    )


@pytest.mark.slow
def test_a_database_and_its_encoder_are_measured(tmp_path, capsys):
    out = tmp_path / "b.json"
    sizes = [
        "--rows",
        "40",
        "--batch",
        "4",
        "--rounds",
        "1",
        "--no-memory",
        "--compare",
        "standard,nobody",
        "--json",
        str(out),
    ]
    assert main(["bench", "--suite", "encode", "--suite", "database", *sizes]) == 0
    report = json.loads(out.read_text())
    jsonschema.Draft202012Validator(schema()).validate(report)
    assert [each["suite"] for each in report["results"]] == [
        "encode", "recall", "recall", "recall", "recall", "ingest", "ingest", "consolidate",
    ]  # fmt: skip
    assert "no model 'nobody'" in report["skipped"]["encode: nobody"]
    (vectors,) = [each for each in report["results"] if each["strategy"] == "vector_search in SQL"]
    assert vectors["accuracy"]["recall@10"] == 1.0
    assert vectors["besides"] == "the open database and its text model"


SCRAMBLED = {
    "attention": "torch.nn.functional.scaled_dot_product_attention",
    "dequantize": "aios_db.engine.weights.quantized.dequantize",
    "scan": "aios_db.search.kernels.vectors.nearest",
    "top 10": "numpy.argpartition",
}


@pytest.mark.parametrize("operator", SCRAMBLED)
def test_a_scrambled_operator_is_worse_than_before(monkeypatch, tmp_path, operator):
    def measured():
        wanted = (each for each in comparisons(2, 4, rows=2000) if each.name.startswith(operator))
        return [result for each in wanted for result in measure(each, 1)]

    baseline = read_baseline(written(tmp_path / "before.json", *measured()))
    place, _, name = SCRAMBLED[operator].rpartition(".")
    module = pkgutil.resolve_name(place)
    real = getattr(module, name)

    def scrambled(*arguments):
        answer = real(*arguments)
        return (answer[0][::-1] + 1, *answer[1:]) if isinstance(answer, tuple) else -answer - 1

    monkeypatch.setattr(pkgutil.resolve_name(place), name, scrambled)
    assert any("cosine" in line or "recall" in line for line in regressions(measured(), baseline))


def test_only_the_first_of_a_comparison_is_without_accuracy():
    for comparison in comparisons(2, 4, rows=2000):
        assert all(each.accuracy is not None for each in comparison.strategies[1:])


def test_strategies_run_in_turns_and_are_compared_round_by_round():
    ran = []
    strategies = [Strategy(name, lambda name=name: partial(ran.append, name)) for name in "abc"]
    found = measure(Comparison("s", "n", 5, "things", strategies), rounds=6)
    assert len(ran) == 21 and all(sorted(ran[at : at + 3]) == ["a", "b", "c"] for at in range(0, 21, 3))
    assert len({tuple(ran[at : at + 3]) for at in range(0, 21, 3)}) > 1
    assert found[0].ratio == 1.0 and all(len(each.seconds) == 6 for each in found)


def test_what_is_worse_beyond_the_noise_is_said(tmp_path):
    before = read_baseline(written(tmp_path / "b.json", FAST))
    assert regressions([FAST], before) == []
    assert regressions([replace(FAST, ratio=2.6)], before) == []  # spread .05 in both: .3 is noise
    assert regressions([replace(FAST, ratio=1.9)], before) == [
        "encode, 8 texts, int8: ratio 1.90, was 3.00 (noise 27%)"
    ]
    assert regressions([replace(FAST, accuracy={"cosine_mean": 0.98})], before) == [
        "encode, 8 texts, int8: cosine_mean 0.9800, was 0.9900"
    ]
    assert regressions([replace(FAST, accuracy={"cosine_mean": math.nan})], before) == [
        "encode, 8 texts, int8: cosine_mean nan, was 0.9900"
    ]
    lost = ["encode, 8 texts, int8: not run, and it was before (illegal instruction)"]
    assert regressions([], before, {"encode: int8": "illegal instruction", "encode: ipex": "absent"}) == lost
    another = replace(FAST, name="another", ratio=0.1)
    assert regressions([FAST, another], before) == []
    with pytest.raises(DataError, match="nothing that was measured is in the baseline"):
        regressions([another], before)


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"version": 2, "results": []}', '{"version": 1, "results": [{}]}']
)
def test_what_is_no_report_is_refused(tmp_path, content):
    (tmp_path / "b.json").write_text(content)
    with pytest.raises(DataError, match=r"b\.json"):
        read_baseline(tmp_path / "b.json")


def test_what_cannot_be_read_or_written_is_refused_before_anything_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("aios_db.benchmarking.run.run", lambda *_: pytest.fail("it was measured"))
    (tmp_path / "b.json").write_text("{}")
    assert main(["bench", "--baseline", str(tmp_path / "b.json")]) == 1
    assert "b.json is no report" in capsys.readouterr().err
    for option in ("--json", "--markdown", "--html"):
        assert main(["bench", option, str(tmp_path / "none" / "x")]) == 2
        assert f"{option}: there is no directory {tmp_path / 'none'}" in capsys.readouterr().err


def test_a_page_stands_by_itself_and_escapes_what_it_shows():
    report = Report(ENVIRONMENT, {}, [FAST, replace(FAST, strategy="<fp32>")], {"encode: x": "a & b"})
    page = report.as_html()
    parser = HTMLParser()
    parser.feed(page)
    parser.close()
    assert "a &lt;b&gt;" in page and "<fp32>" not in page and "a &amp; b" in page
    assert "http" not in page.replace("http-equiv", "")
    assert page.count("<circle") == 6 and page.count("<rect") == 2


def test_memory_of_this_process():
    with Watching() as memory:
        before = memory.found().private
        held = np.ones(50_000_000)  # more than what other threads of this process may allocate meanwhile
        time.sleep(0.1)
        assert held.nbytes == 400_000_000
        del held
        found = memory.found()
    assert found.resident and found.private and found.shared and found.peak
    assert found.private + found.shared == found.resident <= found.peak * 1.01
    assert found.private_peak > before + 390e6 > found.private


@pytest.fixture
def alone(tmp_path):
    """Measure the memory of strategies of the first comparison of a suite."""

    def measured(suite, *names):
        found = [[replace(FAST, suite=suite, name="n", strategy=name) for name in names]]
        options = Options(batch=2, length=4, rows=20, compare=names)
        skipped, told = {}, []
        (results,) = with_memory(
            found, suite, options, load_config(), tmp_path, skipped, lambda *step: told.append(step)
        )
        assert told[-1][1:] == (len(names), len(names))
        return [each.memory for each in results], skipped

    return measured


def test_the_memory_of_a_strategy_is_that_of_a_process_which_makes_no_other(alone):
    (torch, numpy), skipped = alone("operators", "torch fp32", "numpy fp32")
    assert skipped == {}
    assert 0 < numpy.private < torch.private / 2
    assert torch.private + torch.shared == torch.resident <= torch.peak * 1.01
    assert torch.private_peak >= torch.private


def test_a_strategy_alone_has_the_database_that_it_needs(alone):
    (memory,), skipped = alone("database", "SQL")
    assert skipped == {}
    assert memory.private > 20e6


def test_why_the_memory_of_a_strategy_is_not_known(alone):
    (memory,), skipped = alone("encode", "nobody")
    assert memory is None
    ((what, why),) = skipped.items()
    assert what == "memory of encode: n: nobody"
    assert why.startswith("its process ended with status 1: ") and "no model 'nobody'" in why


def test_what_cannot_be_parted_from_a_strategy_is_said():
    memory = Memory(3_000_000, 1_000_000, 2_000_000, 4_000_000, device=0, device_peak=5_000_000)
    report = Report(ENVIRONMENT, {}, [replace(FAST, memory=memory, besides="the hub"), FAST], {})
    said = "Memory here is with the hub in the same process."
    assert said in report.as_html() and report.as_markdown().count(said) == 1
    assert "| 1 MB | 2 MB | 4 MB | 5 MB |" in report.as_markdown()
    jsonschema.Draft202012Validator(schema()).validate(report.as_json())


def test_columns_in_which_nothing_stands_are_left_out():
    report = Report(ENVIRONMENT, {}, [FAST], {})
    assert report.as_markdown().startswith("# Benchmark of 2026-11-30 06:00 UTC\n")
    assert "| ratio | accuracy |\n" in report.as_markdown()
    assert "<th>accuracy</th></tr>" in report.as_html() and "VRAM</th>" not in report.as_html()


def test_what_is_not_there_is_said_before_anything_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("aios_db.benchmarking.run.measure", lambda *_: pytest.fail("it was measured"))
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(tmp_path))
    assert main(["bench", "--model", "absent"]) == 1
    assert "no model 'absent'" in capsys.readouterr().err
    (tmp_path / "t.txt").write_bytes(b"Caf\xe9")
    assert main(["bench", "--texts", str(tmp_path / "t.txt")]) == 1
    assert "error: the texts are not UTF-8" in capsys.readouterr().err


def test_the_packaged_model_is_installed_as_by_other_commands(tmp_path):
    check(Options(suites=("encode",)), Config(engine=EngineConfig(models_dir=str(tmp_path))))
    assert (tmp_path / "minilm" / "weights.parquet").is_file()


def test_a_report_of_nothing_is_a_failure(monkeypatch, capsys):
    nothing = Report(ENVIRONMENT, {}, [], {"encode: standard": "illegal instruction"})
    monkeypatch.setattr("aios_db.benchmarking.run.run", lambda *_: nothing)
    assert main(["bench"]) == 1
    assert "nothing could be measured" in capsys.readouterr().err


def test_an_interrupted_run_reports_what_it_has_measured(tmp_path, monkeypatch, capsys):
    left = iter(range(3))

    def interrupted(*arguments):
        if next(left) == 2:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr("aios_db.benchmarking.run.measure", interrupted)
    sizes = ["--batch", "2", "--length", "4", "--rounds", "1", "--no-memory"]
    baseline = written(tmp_path / "before.json", FAST)
    places = ["--json", str(tmp_path / "b.json"), "--baseline", str(baseline)]
    assert main(["bench", "--suite", "operators", "--suite", "database", *sizes, *places]) == 130
    report = json.loads((tmp_path / "b.json").read_text())
    jsonschema.Draft202012Validator(schema()).validate(report)
    assert len({each["name"] for each in report["results"]}) == 2
    assert report["skipped"]["what was to follow"] == "interrupted"
    assert "- not run: what was to follow: interrupted" in capsys.readouterr().out


def test_the_script_of_a_checkout_is_the_command():
    script = Path(__file__).parents[2] / "bench" / "bench_baseline_advanced.py"
    run = subprocess.run([sys.executable, script, "--schema"], capture_output=True, check=True, timeout=120)
    assert json.loads(run.stdout) == schema()


def test_what_cannot_run_is_left_out_and_said():
    def absent():
        raise DataError("it is not there")

    strategies = [Strategy("a", absent), Strategy("b", lambda: partial(len, ""))]
    skipped = {}
    (found,) = measure(Comparison("s", "n", 1, "things", strategies), rounds=1, skipped=skipped)
    assert (found.strategy, found.ratio, skipped) == ("b", 1.0, {"s: a": "it is not there"})


def test_texts_of_files_are_repeated_to_the_number_asked_for(tmp_path):
    (tmp_path / "t.txt").write_text("one\n\ntwo\n")
    assert read_texts([str(tmp_path / "t.txt")], 5) == ["one", "two", "one", "two", "one"]
    (tmp_path / "t.txt").write_text("\n")
    with pytest.raises(DataError, match="no text"):
        read_texts([str(tmp_path / "t.txt")], 5)
    assert len(set(read_texts([], 50))) == 50
