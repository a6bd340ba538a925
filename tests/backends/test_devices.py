from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from aios_db.engine.backends import accelerator as accelerator_module
from aios_db.engine.backends import device_session, devices
from aios_db.engine.backends.accelerator import Accelerator, MemoryThresholdError, half_precision
from aios_db.engine.backends.devices import Device, find_device
from aios_db.engine.backends.placement import PlacedModule
from aios_db.engine.backends.protocol import Program
from aios_db.engine.backends.session import Session
from aios_db.engine.catalog import open_model
from aios_db.engine.catalog.open_model import wants_integers
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import CpuConfig, DeviceConfig
from aios_db.schema.errors import DeviceError, WeightsError

torch = pytest.importorskip("torch")

CPU = CpuConfig(backend="standard", precision="fp32")
WIDTH, LAYERS = 16, 6
LAYER_BYTES = 4 * (WIDTH * WIDTH + WIDTH)
no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


class Stack(torch.nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.inward = torch.nn.Linear(4, WIDTH)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.inward(x)
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return x


@pytest.fixture
def program() -> Program:
    torch.manual_seed(0)
    module = Stack().eval()
    inputs = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    return Program(
        name="stack@0", module=lambda: module, load=lambda: None, shapes=((-1, 4),),
        calibration=lambda: [(inputs,)], check=lambda: [(inputs,)],
    )  # fmt: skip


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU stands for a GPU: the accelerator's code runs, on torch's device "cpu"."""

    class Stand(Device):
        @property
        def torch_name(self) -> str:
            return "cpu"

    monkeypatch.setattr(device_session, "find_device", lambda config: Stand("cuda", "stand-in"))


def expected(program: Program) -> np.ndarray[Any, Any]:
    with torch.inference_mode():
        return program.module()(torch.from_numpy(program.check()[0][0])).numpy()


def test_auto_is_a_gpu_when_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_may_have_torch_device", lambda: True)
    found = Device("rocm", "Radeon", 16 << 30)
    monkeypatch.setitem(devices.PROBES, "cuda", lambda: "torch is built without CUDA")
    monkeypatch.setitem(devices.PROBES, "rocm", lambda: found)
    assert find_device(DeviceConfig()) is found
    assert found.torch_name == "cuda"
    assert not found.is_cpu


def test_auto_without_a_gpu_is_the_cpu_and_does_not_import_torch() -> None:
    if devices._may_have_torch_device():
        pytest.skip("a GPU's driver is here")
    code = """
import sys
from aios_db.engine.backends.devices import find_device
from aios_db.schema.config import DeviceConfig
print(find_device(DeviceConfig()).is_cpu, "torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("target", ["cuda", "rocm", "mps"])
def test_a_device_that_is_not_there_is_a_warning_and_the_cpu(
    target: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find_device(DeviceConfig(target=target)).is_cpu
    assert f"device.target {target}: " in caplog.text
    with pytest.raises(DeviceError, match=rf"device\.target {target}: .*fallback_enabled is off"):
        find_device(DeviceConfig(target=target, fallback_enabled=False))


def test_cuda_is_not_rocm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "without CUDA" in str(devices.PROBES["cuda"]())
    assert "no GPU or no driver" in str(devices.PROBES["rocm"]())


def test_arm_is_a_profile_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    features = replace(devices.cpu_features(), machine="x86_64", model="some CPU")
    monkeypatch.setattr(devices, "cpu_features", lambda: features)
    assert isinstance(devices.PROBES["arm"](), str)
    features = replace(features, machine="aarch64")
    assert devices.PROBES["arm"]() == devices.PROBES["cpu"]() == Device("arm", "some CPU")


def test_a_missing_ncnn_is_said_with_its_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "find_spec", lambda name: None)
    assert devices.PROBES["vulkan"]() == "ncnn is not installed: pip install 'aios_db[vulkan]'"


def test_the_accelerator_gives_the_modules_answers(gpu: None, program: Program) -> None:
    session = Session(program, CPU, DeviceConfig())
    (output,) = session.run(program.check())
    assert np.array_equal(output, expected(program))
    report = session.vram()
    assert report.resident_weights == 4 * (4 * WIDTH + WIDTH) + LAYERS * LAYER_BYTES
    assert report.streamed_weights == 0


@pytest.mark.parametrize("layers_of_budget", [0, 2, 4, 5])
def test_layers_beyond_the_budget_are_streamed(layers_of_budget: int, gpu: None, program: Program) -> None:
    inward = 4 * (4 * WIDTH + WIDTH)
    config = DeviceConfig(vram_budget_bytes=inward + layers_of_budget * LAYER_BYTES or 1)
    session = Session(program, CPU, config)
    for _ in range(2):
        assert np.array_equal(session.run(program.check())[0], expected(program))
    report = session.vram()
    stays = max(0, layers_of_budget - 2)
    assert report.streamed_weights >= (LAYERS - stays) * LAYER_BYTES
    assert report.resident_weights <= inward + stays * LAYER_BYTES


def test_streaming_holds_two_layers_at_a_time(program: Program) -> None:
    held: list[int] = []

    def count(*_: object) -> None:
        held.append(sum(not layer.weight.is_meta for layer in placed.module.layers) + len(placed._fetched))

    placed = PlacedModule(
        program.module(), lambda owner, parameter: parameter.detach().clone(), budget_bytes=1
    )
    for layer in placed.module.layers:
        layer.register_forward_pre_hook(count)
        layer.register_forward_hook(count)
    with torch.inference_mode():
        output = placed.module(torch.from_numpy(program.check()[0][0]))
    assert np.array_equal(output.numpy(), expected(program))
    assert len(held) == 2 * LAYERS
    assert max(held) <= 2
    assert all(layer.weight.is_meta for layer in placed.module.layers)


def fail_in_third_layer(session: Session, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = session._on_device()
    assert isinstance(accelerator, Accelerator)

    def hook(*_: object) -> None:
        raise error

    accelerator._placed.module.layers[2].register_forward_pre_hook(hook)


@pytest.mark.parametrize("budget", [0, 1])
def test_out_of_memory_in_the_third_layer_finishes_on_the_cpu(
    budget: int,
    gpu: None,
    program: Program,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    session = Session(program, CPU, DeviceConfig(vram_budget_bytes=budget))
    fail_in_third_layer(session, torch.OutOfMemoryError("CUDA out of memory"), monkeypatch)
    batches = program.check() * 2  # type: ignore[operator]
    outputs = session.run(batches)
    assert all(np.array_equal(output, expected(program)) for output in outputs)
    (record,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert record.getMessage() == (
        "cuda (stand-in) failed, the call is finished on the CPU: CUDA out of memory"
    )
    assert record.transient  # type: ignore[attr-defined]
    assert session.vram().device == "cuda"  # memory may be free again: the device is tried next time


def test_a_lost_device_is_not_tried_again(
    gpu: None, program: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    session = Session(program, CPU, DeviceConfig())
    fail_in_third_layer(session, RuntimeError("CUDA error: device lost"), monkeypatch)
    for _ in range(2):
        assert np.array_equal(session.run(program.check())[0], expected(program))
    assert caplog.text.count("device lost") == 1
    assert session.vram().device in ("cpu", "arm")


def test_without_fall_back_a_failing_device_is_an_error(
    gpu: None, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(program, CPU, DeviceConfig(fallback_enabled=False))
    fail_in_third_layer(session, RuntimeError("device lost"), monkeypatch)
    with pytest.raises(
        DeviceError, match=r"cuda .* failed, and device\.fallback_enabled is off: device lost"
    ):
        session.run(program.check())


def test_what_torch_keeps_for_reuse_does_not_count_against_the_threshold(
    gpu: None, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    accelerator = Session(program, CPU, DeviceConfig(vram_threshold=0.9))._on_device()
    assert isinstance(accelerator, Accelerator)
    used = [95]
    monkeypatch.setattr(Accelerator, "_memory", lambda self: (100, used[0], 0))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: used.__setitem__(0, used[0] - 10))
    accelerator._is_cuda = True
    accelerator._check_threshold()
    assert used == [85]
    used[0] = 105
    with pytest.raises(MemoryThresholdError, match="95%"):
        accelerator._check_threshold()


def test_a_call_waits_for_its_own_stream_alone(
    gpu: None, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CUDA: synchronizing a device invalidates the recording of a graph on one of its streams."""
    accelerator = Session(program, CPU, DeviceConfig())._on_device()
    assert isinstance(accelerator, Accelerator)
    waited: list[str] = []
    stream = SimpleNamespace(synchronize=lambda: waited.append("stream"))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: stream)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append("device"))
    accelerator._is_cuda = True
    accelerator._synchronize()
    assert waited == ["stream"]


@pytest.mark.parametrize(("major", "dtype"), [(9, torch.bfloat16), (8, torch.bfloat16), (7, torch.float16)])
def test_a_gpu_that_only_emulates_bf16_runs_in_fp16(
    major: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(major=major))
    monkeypatch.setattr(torch.cuda, "_check_bf16_tensor_supported", lambda device: True)
    assert half_precision(torch.device("cuda", 0)) is dtype
    assert half_precision(torch.device("mps")) is torch.float16


def test_after_a_device_is_lost_batches_are_those_of_the_cpu(
    minilm_dir: Path, gpu: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ArrowEngine(minilm_dir, cpu=CPU, device=DeviceConfig(target="cuda"))
    shapes: list[tuple[int, ...]] = []
    run = Session.run

    def noted(self: Session, batches: Any) -> Any:
        shapes.extend(ids.shape for ids, _ in batches)
        return run(self, batches)

    monkeypatch.setattr(Session, "run", noted)
    texts = ["a few words of text"] * 100
    before = engine.encode(texts)
    assert shapes == [(100, 16)]
    engine._session._leave(RuntimeError("device lost"))
    after = engine.encode(texts)
    assert shapes[1:] == [(64, 8), (36, 8)]
    assert np.allclose(before, after, atol=1e-5)


def test_above_the_threshold_the_cpu_finishes(
    gpu: None, program: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    used = [80]
    monkeypatch.setattr(accelerator_module, "CHECK_S", 0)
    monkeypatch.setattr(Accelerator, "_memory", lambda self: (100, used[0], 0))
    session = Session(program, CPU, DeviceConfig(vram_threshold=0.9))
    session.run(program.check())
    assert not caplog.records
    used[0] = 95
    assert np.array_equal(session.run(program.check())[0], expected(program))
    assert "memory of cpu is in use: 95%, threshold 90%" in caplog.text
    used[0] = 80
    caplog.clear()
    session.run(program.check())
    assert not caplog.records


def test_the_threshold_crossed_within_a_call_leaves_all_of_it_to_the_cpu(
    gpu: None, program: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    used = iter([50, 50, 95])
    monkeypatch.setattr(accelerator_module, "CHECK_S", 0)
    monkeypatch.setattr(Accelerator, "_memory", lambda self: (100, next(used), 0))
    session = Session(program, CPU, DeviceConfig(vram_threshold=0.9))
    outputs = session.run(program.check() * 3)  # type: ignore[operator]
    assert len(outputs) == 3
    assert all(np.array_equal(output, expected(program)) for output in outputs)
    assert next(used, None) is None
    assert "in use: 95%" in caplog.text


@pytest.mark.parametrize("message", ["MPS backend out of memory", "CUBLAS_STATUS_ALLOC_FAILED when calling"])
def test_a_lack_of_memory_in_other_words_is_transient(
    message: str, gpu: None, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(program, CPU, DeviceConfig())
    fail_in_third_layer(session, RuntimeError(message), monkeypatch)
    assert np.array_equal(session.run(program.check())[0], expected(program))
    assert session.vram().device == "cuda"


def test_what_is_on_the_device_is_reported(
    minilm_dir: Path, gpu: None, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ArrowEngine(minilm_dir, cpu=CPU, device=DeviceConfig(target="cuda"))
    assert engine.memory_report().device == 0
    engine.encode(["a text"])
    report = engine.memory_report()
    vram = engine.vram()
    assert report.device == vram.resident_weights == sum(layer.device for layer in report.layers)
    assert {layer.name: layer.device for layer in report.layers}["encoder.layer.3.output.dense.bias"] == 1536


def test_quantized_weights_become_floats_for_a_gpu(
    monkeypatch: pytest.MonkeyPatch, minilm_dir: Path, rounded: Callable[..., Path], tmp_path: Path
) -> None:
    file = WeightFile(rounded(minilm_dir, tmp_path / "int8", "int8") / "weights.parquet")
    assert wants_integers(file, CpuConfig(), DeviceConfig(target="cpu"))
    for found, integers in ((Device("cpu", "some CPU"), True), (Device("cuda", "some GPU"), False)):
        monkeypatch.setattr(open_model, "find_device", lambda config, found=found: found)
        assert wants_integers(file, CpuConfig(), DeviceConfig()) is integers


def test_a_fault_of_the_weights_is_not_one_of_the_device(gpu: None, program: Program) -> None:
    def load() -> None:
        raise WeightsError("layer 'x' is damaged")

    with pytest.raises(WeightsError, match="layer 'x' is damaged"):
        Session(replace(program, load=load), CPU, DeviceConfig()).run(program.check())


def test_a_model_vulkan_does_not_know_runs_on_the_cpu(
    program: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("ncnn")
    monkeypatch.setattr(device_session, "find_device", lambda config: Device("vulkan", "stand-in"))
    session = Session(program, CPU, DeviceConfig(target="vulkan"))
    assert np.array_equal(session.run(program.check())[0], expected(program))
    assert "vulkan runs BertModel, not stack@0" in caplog.text


@no_cuda
def test_cuda_agrees_with_the_cpu(program: Program) -> None:
    config = DeviceConfig(target="cuda", amp=False)
    session = Session(program, CPU, config)
    for _ in range(3):  # the second pass records a graph, the third replays it
        assert np.abs(session.run(program.check())[0] - expected(program)).max() < 1e-3
    accelerator = session._on_device()
    assert isinstance(accelerator, Accelerator)
    assert accelerator._graphs is not None
    assert len(accelerator._graphs) == 1
    streamed = Session(program, CPU, replace(config, vram_budget_bytes=1))
    for _ in range(3):
        assert np.abs(streamed.run(program.check())[0] - expected(program)).max() < 1e-3


@no_cuda
def test_graphs_of_several_shapes_share_memory_and_do_not_mix(program: Program) -> None:
    session = Session(program, CPU, DeviceConfig(target="cuda", amp=False))
    batches = [(np.random.default_rng(n).normal(size=(n, 4)).astype(np.float32),) for n in (1, 3, 7)]
    with torch.inference_mode():
        answers = [program.module()(torch.from_numpy(x)).numpy() for (x,) in batches]
    for _ in range(4):
        for output, answer in zip(session.run(batches), answers, strict=True):
            assert np.abs(output - answer).max() < 1e-3


@no_cuda
def test_models_of_two_threads_record_graphs_at_the_same_time(program: Program) -> None:
    def run(seed: int) -> float:
        session = Session(program, CPU, DeviceConfig(target="cuda", amp=False, fallback_enabled=False))
        random, worst = np.random.default_rng(seed), 0.0
        for n in [*range(1, 20)] * 3:
            x = random.normal(size=(n, 4)).astype(np.float32)
            with torch.inference_mode():
                answer = program.module()(torch.from_numpy(x)).numpy()
            worst = max(worst, float(np.abs(session.run([(x,)])[0] - answer).max()))
        return worst

    with ThreadPoolExecutor(4) as pool:
        assert max(pool.map(run, range(4))) < 1e-3


@no_cuda
def test_streaming_stays_within_three_layers_of_memory(minilm_dir: Path) -> None:
    config = DeviceConfig(target="cuda", amp=False, vram_budget_bytes=1, fallback_enabled=False)
    engine = ArrowEngine(minilm_dir, cpu=CPU, device=config)
    texts = ["a text of some words"]
    answer = ArrowEngine(minilm_dir, cpu=CPU, device=DeviceConfig(target="cpu")).encode(texts)
    for _ in range(3):
        assert np.abs(engine.encode(texts) - answer).max() < 1e-3
    accelerator = engine._session._on_device()
    assert isinstance(accelerator, Accelerator)
    assert accelerator._pages._mapping is not None  # the driver reads the file's pages itself
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    engine.encode(texts)
    sizes = sorted(
        (sum(p.numel() * 4 for p in unit.parameters()) for _, unit in accelerator._placed._streamed),
        reverse=True,
    )
    assert torch.cuda.max_memory_allocated() - before < 2 * sizes[0] + 2 * sizes[1] + (8 << 20)


@no_cuda
def test_mixed_precision_keeps_the_direction(program: Program) -> None:
    output = Session(program, CPU, DeviceConfig(target="cuda")).run(program.check())[0]
    reference = expected(program)
    cosine = (output * reference).sum(1) / np.linalg.norm(output, axis=1) / np.linalg.norm(reference, axis=1)
    assert cosine.min() > 0.999
