from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import pytest
import torch

from aios_db.engine.backends.devices import Device
from aios_db.engine.catalog.gate import Candidate
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.engine.quantization import device_fallback
from aios_db.engine.quantization.device_fallback import CPU, on_device
from aios_db.engine.quantization.quantizer import quantize_model
from aios_db.engine.weights.reader import WeightFile
from aios_db.schema.config import CpuConfig, DeviceConfig, QuantizationConfig
from aios_db.schema.errors import DataError, DeviceError

CONFIG = QuantizationConfig(
    target="int2", max_bits=5.0, group_size=0, distillation_steps=40, distillation_tokens=256,
    calibration_tokens=8_000,
)  # fmt: skip
no_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_fallback, "find_device", lambda config: Device("rocm", "stand-in"))


def test_a_gpu_computes(gpu: None) -> None:
    assert on_device(lambda place: place, DeviceConfig()) == torch.device("cuda")  # torch's name for ROCm too


def test_without_a_gpu_the_cpu_computes() -> None:
    assert on_device(lambda place: place, DeviceConfig(target="cpu")) == CPU


def test_vulkan_does_not_quantize(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(device_fallback, "find_device", lambda config: Device("vulkan", "stand-in"))
    assert on_device(lambda place: place, DeviceConfig()) == CPU
    assert "not quantized there" in caplog.text


def fails_on_the_gpu(place: torch.device) -> torch.device:
    if place != CPU:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return place


def test_what_fails_on_a_gpu_is_done_on_the_cpu(gpu: None, caplog: pytest.LogCaptureFixture) -> None:
    assert on_device(fails_on_the_gpu, DeviceConfig()) == CPU
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "rocm (stand-in) failed, the quantization is continued on the CPU: CUDA out of memory"
    )


def test_without_fall_back_it_is_an_error(gpu: None) -> None:
    with pytest.raises(DeviceError, match=r"rocm .* failed, and device\.fallback_enabled is off: CUDA"):
        on_device(fails_on_the_gpu, DeviceConfig(fallback_enabled=False))


def test_a_fault_of_the_input_is_not_one_of_the_device(gpu: None, caplog: pytest.LogCaptureFixture) -> None:
    def run(place: torch.device) -> None:
        raise DataError("no text")

    with pytest.raises(DataError, match="no text"):
        on_device(run, DeviceConfig())
    assert not caplog.records


def test_the_cpu_continues_where_the_gpu_failed(
    tiny_bert: Path,
    tmp_path: Path,
    texts: list[str],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    on_cpu = DeviceConfig(target="cpu")
    quantize_model(tiny_bert, tmp_path / "whole", calibration=texts, config=CONFIG, device=on_cpu)
    monkeypatch.setattr("aios_db.engine.quantization.steps.SAVE_EVERY", 10)
    monkeypatch.setattr(Device, "torch_name", "cpu")  # the CPU stands for a GPU, until it fails
    monkeypatch.setattr(device_fallback, "find_device", lambda config: Device("cuda", "stand-in"))
    steps: list[int] = []

    def progress(what: str, done: int, total: int) -> None:
        if what == "distilling":
            steps.append(done)
            if len(steps) == 25:
                raise RuntimeError("CUDA error: device lost")

    quantize_model(tiny_bert, tmp_path / "q", calibration=texts, config=CONFIG, progress=progress)
    assert "device lost" in caplog.text
    assert steps == [*range(1, 26), *range(21, 41)]
    resumed, whole = (WeightFile(tmp_path / name / "weights.parquet") for name in ("q", "whole"))
    assert resumed.content_sha256 == whole.content_sha256


@no_cuda
@pytest.mark.parametrize(
    "changes",
    [{"method": "gptq"}, {"method": "full", "mixed_by": "row"}, {"method": "ptq"}, {"target": "int8"}],
    ids=str,
)
def test_cuda_and_the_cpu_reach_the_same(
    tiny_bert: Path, tmp_path: Path, texts: list[str], unseen_texts: list[str], changes: dict[str, Any]
) -> None:
    config, cosines = dataclasses.replace(CONFIG, **changes), {}
    on_cpu = DeviceConfig(target="cpu")
    original = ArrowEngine(tiny_bert, cpu=CpuConfig(backend="standard"), device=on_cpu).encode(unseen_texts)
    for target in ("cuda", "cpu"):
        device = DeviceConfig(target=target, fallback_enabled=False)  # type: ignore[arg-type]
        quantize_model(tiny_bert, tmp_path / target, calibration=texts, config=config, device=device)
        vectors = ArrowEngine(Candidate(tmp_path / target), device=on_cpu).encode(unseen_texts)
        cosines[target] = float((original * vectors).sum(1).mean())
    assert cosines["cuda"] == pytest.approx(cosines["cpu"], abs=0.02)


@no_cuda
def test_what_cuda_began_the_cpu_finishes(tiny_bert: Path, tmp_path: Path, texts: list[str]) -> None:
    class Killed(Exception):
        pass

    steps: list[int] = []

    def kill(what: str, done: int, total: int) -> None:
        if what == "distilling" and done == 120:
            raise Killed

    config = dataclasses.replace(CONFIG, distillation_steps=150)
    with pytest.raises(Killed):
        quantize_model(tiny_bert, tmp_path / "q", calibration=texts, config=config, progress=kill)
    report = quantize_model(
        tiny_bert, tmp_path / "q", calibration=texts, config=config, device=DeviceConfig(target="cpu"),
        progress=lambda what, done, total: steps.append(done),
    )  # fmt: skip
    assert steps == list(range(101, 151))
    assert report.bits_linear <= 5.0
