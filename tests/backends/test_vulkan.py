"""BERT on Vulkan: on a GPU's driver, or on Mesa's software driver."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aios_db.engine.backends import devices, vulkan
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.schema.config import CpuConfig, DeviceConfig
from aios_db.schema.errors import NotSupportedError

ncnn = pytest.importorskip("ncnn", reason="ncnn is not installed: pip install 'aios_db[vulkan]'")

CPU = CpuConfig(backend="standard", precision="fp32")
TEXTS = [
    "The cat sat on the mat.",
    "A man is playing a guitar in front of a small crowd at the station.",
    "No.",
]


@pytest.fixture(scope="module", autouse=True)
def driver() -> Iterator[None]:
    if not vulkan.vulkan_devices():
        pytest.skip("no Vulkan driver; on Debian: apt-get install libvulkan1 mesa-vulkan-drivers")
    yield


def test_minilm_on_vulkan_equals_the_cpu(minilm_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = ArrowEngine(minilm_dir, cpu=CPU, device=DeviceConfig(target="vulkan", fallback_enabled=False))
    vectors = engine.encode(TEXTS)
    assert engine.device.target == "vulkan"
    assert engine.device.is_software == ("is software" in caplog.text)
    expected = ArrowEngine(minilm_dir, cpu=CPU, device=DeviceConfig(target="cpu")).encode(TEXTS)
    assert (vectors * expected).sum(axis=1).min() > 0.9999


def test_a_layer_without_a_vulkan_kernel_is_refused(
    minilm_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = vulkan._graph

    def with_bnll(config: Mapping[str, Any]) -> list[str]:
        return [re.sub("^GELU (.*) 0=1", r"BNLL \1", line) for line in graph(config)]

    monkeypatch.setattr(vulkan, "_graph", with_bnll)
    engine = ArrowEngine(minilm_dir, cpu=CPU, device=DeviceConfig(target="vulkan"))
    with pytest.raises(NotSupportedError, match="no Vulkan kernel for BNLL"):
        vulkan.VulkanBert(engine._session._program)


def test_auto_does_not_take_a_software_device(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    software = vulkan.VulkanDevice(0, "llvmpipe", vulkan.SOFTWARE, 1 << 30)
    monkeypatch.setattr(devices, "_may_have_torch_device", lambda: False)
    monkeypatch.setattr(devices, "RENDER_NODES", tmp_path)
    monkeypatch.setattr(vulkan, "vulkan_devices", lambda: [software])
    assert devices.find_device(DeviceConfig()).is_cpu
    discrete = vulkan.VulkanDevice(1, "GPU", vulkan.DISCRETE, 8 << 30)
    monkeypatch.setattr(vulkan, "vulkan_devices", lambda: [software, discrete])
    assert devices.find_device(DeviceConfig()) == devices.Device("vulkan", "GPU", 8 << 30)


def test_without_a_driver_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vulkan, "vulkan_devices", list)
    assert "there is no Vulkan driver" in str(devices.PROBES["vulkan"]())


def test_answers_are_of_unit_length(minilm_dir: Path) -> None:
    engine = ArrowEngine(minilm_dir, cpu=CPU, device=DeviceConfig(target="vulkan"))
    assert np.allclose(np.linalg.norm(engine.encode(TEXTS[:1]), axis=1), 1, atol=1e-5)
