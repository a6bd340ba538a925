"""Each real back end gives the standard one's answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from aios_db.engine.backends import code, openvino
from aios_db.engine.backends.cpu_features import CpuFeatures, cpu_features
from aios_db.engine.backends.protocol import Arithmetic, Backend, Program
from aios_db.engine.backends.registry import get_backend
from aios_db.engine.backends.sample import sample_sentences
from aios_db.engine.backends.selection import mean_cosine

torch = pytest.importorskip("torch")

EVERYTHING = CpuFeatures("any", "x86_64", 2, frozenset({"avx512_bf16", "vnni"}))


class Encoder(torch.nn.Module):  # type: ignore[misc, name-defined]
    """A transformer layer over embedded tokens, mean-pooled over the mask."""

    def __init__(self) -> None:
        super().__init__()
        self.words = torch.nn.Embedding(50, 32)
        self.mix = torch.nn.Linear(32, 32)
        self.out = torch.nn.Linear(32, 16)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.words(ids)
        x = x + torch.nn.functional.scaled_dot_product_attention(x, x, self.mix(x), mask[:, None, :].bool())
        weights = mask.unsqueeze(-1).to(x.dtype)
        return self.out((x * weights).sum(1) / weights.sum(1))


@pytest.fixture
def program(tmp_path: Path) -> Program:
    torch.manual_seed(0)
    module = Encoder().eval()
    rng = np.random.default_rng(0)

    def batch(n: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        mask = (np.arange(length) < rng.integers(1, length + 1, (n, 1))).astype(np.int64)
        return rng.integers(0, 50, (n, length)) * mask, mask

    calibration, check = [batch(2, 9) for _ in range(20)], [batch(3, 7), batch(1, 12), batch(5, 3)]
    return Program(
        name="toy@1", module=lambda: module, load=lambda: None, shapes=((-1, -1), (-1, -1)),
        calibration=lambda: calibration, check=lambda: check, cache=tmp_path,
    )  # fmt: skip


@pytest.fixture
def openvino_backend() -> Backend:
    backend = get_backend("openvino")
    if backend.missing():
        pytest.skip(str(backend.missing()))
    return backend


CASES: list[tuple[str, Arithmetic, float]] = [
    ("standard", "bf16", 0.9999),
    ("openvino", "fp32", 0.999999),
    ("openvino", "bf16", 0.9999),
    ("openvino", "int8", 0.99),
]


@pytest.mark.parametrize(("name", "precision", "least"), CASES)
def test_answers_agree_with_fp32(name: str, precision: Arithmetic, least: float, program: Program) -> None:
    backend = get_backend(name)
    if backend.missing():
        pytest.skip(str(backend.missing()))
    if precision not in backend.precisions(cpu_features()):
        pytest.skip(f"{name} has no {precision} here")
    expected = get_backend("standard").prepare(program, "fp32", 1).run(program.check())
    outputs = backend.prepare(program, precision, 1).run(program.check())
    assert [output.shape for output in outputs] == [(3, 16), (1, 16), (5, 16)]
    assert {output.dtype for output in outputs} == {np.dtype(np.float32)}
    assert mean_cosine(np.concatenate(outputs), np.concatenate(expected)) > least


def test_standard_fp32_runs_the_module_itself(program: Program) -> None:
    before = [parameter.data_ptr() for parameter in program.module().parameters()]
    get_backend("standard").prepare(program, "fp32", 1).run(program.check())
    assert [parameter.data_ptr() for parameter in program.module().parameters()] == before


def test_a_bf16_copy_leaves_the_module_alone_and_drops_its_hooks(program: Program) -> None:
    calls: list[int] = []
    program.module().register_forward_pre_hook(lambda *_: calls.append(1))
    get_backend("standard").prepare(program, "bf16", 1).run(program.check())
    assert calls == []
    assert {parameter.dtype for parameter in program.module().parameters()} == {torch.float32}


def test_bf16_and_int8_are_offered_where_the_cpu_has_them() -> None:
    plain = CpuFeatures("old", "x86_64", 2, frozenset({"avx2"}))
    for name in ("standard", "compile", "ipex"):
        assert get_backend(name).precisions(plain) == ("fp32",)
        assert get_backend(name).precisions(EVERYTHING) == ("fp32", "bf16")
    assert get_backend("openvino").precisions(plain) == ("fp32",)
    assert "bf16" in get_backend("openvino").precisions(EVERYTHING)


def test_openvino_keeps_its_graph_and_runs_it_without_torch_modules(
    openvino_backend: Backend, program: Program, tmp_path: Path
) -> None:
    expected = openvino_backend.prepare(program, "fp32", 1).run(program.check())

    def unused() -> None:
        raise AssertionError("the module is not needed")

    again = openvino_backend.prepare(replace(program, module=unused, load=unused), "fp32", 2)  # type: ignore[arg-type]
    for left, right in zip(again.run(program.check()), expected, strict=True):
        assert np.abs(left - right).max() < 1e-5
    assert again.run(program.check()[1:2])[0].shape == (1, 16)


def test_openvino_reports_no_use_over_the_network(openvino_backend: Backend) -> None:
    script = (
        "import sys; from aios_db.engine.backends import openvino as backend; backend.import_openvino();"
        "assert sys.modules['openvino_telemetry'] is None"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120)


def test_openvino_makes_a_damaged_graph_again(
    openvino_backend: Backend, program: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    expected = openvino_backend.prepare(program, "fp32", 1).run(program.check())
    (graph,) = tmp_path.glob("openvino-float-*.xml")
    graph.write_text("<net")
    again = openvino_backend.prepare(program, "fp32", 1).run(program.check())
    assert np.abs(again[0] - expected[0]).max() < 1e-6
    assert f"{graph} is damaged" in caplog.text


def test_a_graph_that_other_code_made_is_not_used(
    openvino_backend: Backend, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino_backend.prepare(program, "fp32", 1)
    (made,) = tmp_path.glob("openvino-float-*.xml")
    monkeypatch.setattr(openvino, "code_digest", lambda: "0123456789ab")
    torch.manual_seed(1)
    other = Encoder().eval()  # as if the module's code computed something else
    changed = replace(program, module=lambda: other)
    expected = get_backend("standard").prepare(changed, "fp32", 1).run(program.check())
    outputs = openvino_backend.prepare(changed, "fp32", 1).run(program.check())
    assert np.abs(outputs[0] - expected[0]).max() < 1e-2
    assert len(list(tmp_path.glob("openvino-float-*.xml"))) == 2
    assert made.is_file()


def test_the_first_pass_of_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "_initialised", threading.Event())
    inside, most = 0, 0
    together = threading.Barrier(2, timeout=30)

    class Request:
        def infer(self, arrays: Any, **_: Any) -> list[Any]:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            if started_up:
                together.wait()
            else:
                time.sleep(0.05)
            inside -= 1
            return [arrays[0] + 1]

    for expected in (1, 2):
        most, started_up = 0, expected == 2
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda i: openvino._infer(Request(), (np.full(3, i),)), range(2)))
        assert [each.tolist() for each in found] == [[1, 1, 1], [2, 2, 2]]
        assert most == expected


def test_graphs_that_nobody_reads_any_more_are_removed(
    openvino_backend: Backend, program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino_backend.prepare(program, "fp32", 1)
    (old,) = tmp_path.glob("openvino-*.xml")
    two_months_ago = time.time() - 60 * 24 * 3600
    os.utime(old, (two_months_ago, two_months_ago))
    openvino_backend.prepare(program, "fp32", 1)
    assert old.stat().st_mtime > two_months_ago + 3600  # it was read
    monkeypatch.setattr(openvino, "code_digest", lambda: "a newer one")
    openvino_backend.prepare(program, "fp32", 1)
    assert old.is_file()
    (new,) = set(tmp_path.glob("openvino-*.xml")) - {old}
    os.utime(old, (two_months_ago, two_months_ago))
    new.unlink()
    openvino_backend.prepare(program, "fp32", 1)
    assert sorted(tmp_path.glob("openvino-*")) == [new.with_suffix(".bin"), new]


def test_openvino_runs_where_its_graph_cannot_be_kept(
    openvino_backend: Backend, program: Program, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")  # a directory below it fails for root too, unlike a read-only one
    expected = openvino_backend.prepare(program, "fp32", 1).run(program.check())
    outputs = openvino_backend.prepare(replace(program, cache=tmp_path / "file"), "fp32", 1).run(
        program.check()
    )
    assert np.abs(outputs[0] - expected[0]).max() < 1e-3  # what is kept is in fp16
    assert "cannot be written, so the model is converted in each process" in caplog.text


_STRIDED = """
import sys
from pathlib import Path
import numpy as np, torch
from aios_db.engine.backends.protocol import Program
from aios_db.engine.backends.registry import get_backend
module = torch.nn.Linear(4000, 4, bias=False).eval()
example = (np.ones((300, 4000), np.float32),)
program = Program(
    name="toy@4", module=lambda: module, load=lambda: None, shapes=((-1, 4000),),
    calibration=lambda: [example], check=lambda: [example], cache=Path(sys.argv[1]),
)
runner = get_backend("openvino").prepare(program, "fp32", 2)
right = 0
for _ in range(10):
    batches = [(np.full((4000, 300), k + 1, np.float32).T,) for k in range(4)]
    (once,) = runner.run([(np.ones((300, 4000), np.float32),)])
    right += sum(np.allclose(out, (k + 1) * once, rtol=1e-3) for k, out in enumerate(runner.run(batches)))
print(right)
"""


def test_openvino_reads_inputs_that_are_not_contiguous(openvino_backend: Backend, tmp_path: Path) -> None:
    script = [sys.executable, "-c", _STRIDED, str(tmp_path)]
    result = subprocess.run(script, capture_output=True, text=True, check=False, timeout=240)
    assert (result.returncode, result.stdout) == (0, "40\n"), result.stderr


_TUNE = """
import sys
from pathlib import Path
import numpy as np, torch
from aios_db.engine.backends.protocol import Program
from aios_db.engine.backends.session import Session
from aios_db.schema.config import CpuConfig, DeviceConfig
torch.manual_seed(0)
module = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.GELU(), torch.nn.Linear(8, 4)).eval()
inputs = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
program = Program(
    name="toy@3", module=lambda: module, load=lambda: None, shapes=((-1, 6),), bulk=1,
    calibration=lambda: [(inputs[i : i + 1],) for i in range(20)], check=lambda: [(inputs,)],
    cache=Path(sys.argv[1]),
)
print("ready", flush=True)
sys.stdin.readline()
session = Session(program, CpuConfig(backend=sys.argv[2]), DeviceConfig(target="cpu"))
outputs = session.run([(inputs,)])[0]
with torch.inference_mode():
    expected = module(torch.from_numpy(inputs)).numpy()
cosine = (outputs * expected).sum(1) / np.linalg.norm(outputs, axis=1) / np.linalg.norm(expected, axis=1)
print(session.choice.backend, bool(cosine.mean() > 0.99))
"""


def test_two_processes_tune_at_the_same_time(openvino_backend: Backend, tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", _TUNE, str(tmp_path), "openvino"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(arguments, **pipes) for _ in range(2)]  # type: ignore[call-overload]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:  # now, and not while they import torch
        process.stdin.write("\n")
        process.stdin.flush()
    for process in processes:
        output, errors = process.communicate(timeout=240)
        assert output == "openvino True\n", errors
    third = subprocess.run(arguments, input="\n", capture_output=True, text=True, check=True, timeout=240)
    assert third.stdout == "ready\nopenvino True\n"
    assert "damaged" not in third.stderr
    assert len(list(tmp_path.glob("choice-*.json"))) == 1
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]  # nothing half-written is left


@pytest.mark.parametrize("part", code.PARTS)
def test_the_digest_of_the_code_depends_on_every_part(part: str, tmp_path: Path) -> None:
    for name in code.PARTS:
        source, target = code.ENGINE / name, tmp_path / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, target)
    (tmp_path / "architectures" / "bert.pyc").write_bytes(b"compiled")
    assert code.code_digest.__wrapped__(tmp_path) == code.code_digest()
    changed = tmp_path / part
    if changed.is_dir():
        changed = sorted(changed.rglob("*.py"))[-1]
    changed.write_text(changed.read_text(encoding="utf-8") + "\nchanged = True\n", encoding="utf-8")
    assert code.code_digest.__wrapped__(tmp_path) != code.code_digest()


def test_the_ipex_of_another_torch_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from aios_db.engine.backends import ipex

    versions = {"torch": "2.9.1", "intel_extension_for_pytorch": "2.8.0"}
    monkeypatch.setattr(ipex, "version", versions.__getitem__)
    assert ipex.Ipex().missing() == "intel_extension_for_pytorch 2.8 does not fit torch 2.9"
    versions["torch"] = "2.8.0+cpu"
    assert ipex.Ipex().missing() is None


@pytest.mark.slow
def test_compile_agrees_with_fp32(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = get_backend("compile")
    if backend.missing():
        pytest.skip(str(backend.missing()))
    # The compiler is not tried out first on each set of vector instructions that the CPU says it has.
    monkeypatch.setattr("torch._inductor.config.cpp.vec_isa_ok", True)
    expected = get_backend("standard").prepare(program, "fp32", 1).run(program.check())
    outputs = backend.prepare(program, "fp32", 1).run(program.check())
    assert mean_cosine(np.concatenate(outputs), np.concatenate(expected)) > 0.999999


def test_the_sample_is_calibrated_and_checked_on_different_sentences() -> None:
    calibration, check = sample_sentences()
    assert (len(calibration), len(check)) == (80, 24)
    assert not set(calibration) & set(check)
    assert " ".join(check[20:]) == " ".join(check[:20])  # the passages that follow the sentences


def test_openvino_gives_a_lone_batch_all_threads_and_many_a_stream_each(
    openvino_backend: Backend, program: Program
) -> None:
    runner = cast(openvino.OpenVinoRunner, openvino_backend.prepare(program, "fp32", 2))
    compiled: list[dict[str, Any]] = []

    class Core:
        def compile_model(self, model: Any, device: str, config: dict[str, Any]) -> Any:
            compiled.append(config)
            return core.compile_model(model, device, config)

    core, runner._core = runner._core, Core()
    runner.run(program.check()[1:2])  # 12 tokens
    assert [(config["INFERENCE_NUM_THREADS"], config["NUM_STREAMS"]) for config in compiled] == [(2, 1)]
    runner.run(program.check())
    assert [(config["INFERENCE_NUM_THREADS"], config["NUM_STREAMS"]) for config in compiled[1:]] == [(2, 2)]
