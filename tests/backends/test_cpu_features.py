from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aios_db.engine.backends.cpu_features import (
    CpuFeatures,
    cpu_features,
    features_of,
    onednn_report,
    parse_cpuinfo,
    parse_sysctl,
    usable_cores,
)

SAPPHIRE_RAPIDS = """\
processor\t: 0
model name\t: Intel(R) Xeon(R) Platinum 8488C
flags\t\t: fpu sse2 avx2 avx512f avx512_vnni avx512_bf16 amx_bf16 amx_tile amx_int8

processor\t: 1
model name\t: another
flags\t\t: fpu
"""

GRAVITON_3 = """\
processor\t: 0
Features\t: fp asimd asimddp sve i8mm bf16
CPU implementer\t: 0x41
CPU part\t: 0xd40
"""

APPLE_M2 = """\
machdep.cpu.brand_string: Apple M2
hw.optional.neon: 1
hw.optional.arm.FEAT_BF16: 1
hw.optional.arm.FEAT_I8MM: 1
hw.optional.arm.FEAT_DotProd: 1
hw.optional.avx2_0: 0
hw.ncpu: 8
"""


def _features(model: str, flags: set[str], machine: str) -> CpuFeatures:
    return CpuFeatures(model, machine, 2, features_of(flags))


def test_intel_flags() -> None:
    features = _features(*parse_cpuinfo(SAPPHIRE_RAPIDS), machine="x86_64")
    assert features.model == "Intel(R) Xeon(R) Platinum 8488C"
    assert features.names == {"avx2", "avx512", "vnni", "avx512_bf16", "amx_bf16", "amx_int8"}
    assert features.has_bf16
    assert features.has_int8
    assert not features.is_arm


def test_arm_features_on_linux() -> None:
    features = _features(*parse_cpuinfo(GRAVITON_3), machine="aarch64")
    assert features.model == "ARM 0x41 0xd40"
    assert features.names == {"neon", "dotprod", "sve", "i8mm", "bf16"}
    assert features.is_arm
    assert features.has_bf16


def test_arm_features_on_macos() -> None:
    features = _features(*parse_sysctl(APPLE_M2), machine="arm64")
    assert features.model == "Apple M2"
    assert features.names == {"neon", "dotprod", "i8mm", "bf16"}


def test_an_unknown_cpu_gets_nothing_faster_than_fp32() -> None:
    features = _features(*parse_cpuinfo(""), machine="riscv64")
    assert not features.has_bf16
    assert not features.has_int8


def test_this_machine() -> None:
    features = cpu_features()
    assert features.cores >= 1
    assert features.model
    report = onednn_report()
    assert isinstance(report["onednn"], bool)
    assert report["capability"]


def test_detection_does_not_import_torch() -> None:
    code = """
import sys
from aios_db.engine.backends.cpu_features import cpu_features
cpu_features()
print("torch" in sys.modules)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "250000 100000\n"}, 3),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "6400000 100000\n"}, 8),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.max": "nonsense"}, 8),
        ({}, 8),
    ],
)
def test_a_container_has_no_more_cores_than_its_quota(
    files: dict[str, str], expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == expected
