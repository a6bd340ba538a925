"""What is told of devices' memory: by an engine, in SQL and by `aios doctor`."""

from __future__ import annotations

import gc
import json
from pathlib import Path

import pytest

import aios_db
from aios_db.cli import watching
from aios_db.cli.app import main
from aios_db.config import load_config
from aios_db.engine.backends import device_session, devices
from aios_db.engine.backends.device_session import vram_of_process
from aios_db.engine.backends.devices import Device
from aios_db.engine.backends.vram import VramReport, by_model, idle_report
from aios_db.engine.encoders.arrow_engine import ArrowEngine
from aios_db.schema.config import CpuConfig, DeviceConfig

CPU = CpuConfig(backend="standard", precision="fp32")
GIB = 1 << 30


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU stands for a GPU of 8 GiB: the accelerator's code runs, on torch's device "cpu"."""

    class Stand(Device):
        @property
        def torch_name(self) -> str:
            return "cpu"

    for module in (device_session, watching):
        monkeypatch.setattr(
            f"{(devices if module is watching else module).__name__}.find_device",
            lambda config: Stand("cuda", "stand-in", 8 * GIB),
        )


def test_a_cpu_has_an_honest_row(minilm_dir: Path) -> None:
    engine = ArrowEngine(minilm_dir, cpu=CPU, device=DeviceConfig(target="cpu"))
    for _ in range(2):
        report = engine.vram()
        assert report.device in ("cpu", "arm")
        assert report.model == engine.version
        assert report.name == engine.device.name
        numbers = (report.total, report.used, report.allocated, report.resident_weights)
        assert (*numbers, report.streamed_weights) == (0, 0, 0, 0, 0)
        engine.encode(["a text"])
    engine.close()


def test_two_sessions_of_a_model_are_one_row() -> None:
    one = VramReport("cuda", "GPU", "whisper@1", 100, 50, 20, 7, 1)
    other = VramReport("cuda", "GPU", "minilm@1", 100, 50, 20, 5, 0)
    merged = by_model([one, other, one])
    assert [(each.model, each.resident_weights, each.streamed_weights) for each in merged] == [
        ("minilm@1", 5, 0),
        ("whisper@1", 14, 2),
    ]
    assert {each.total for each in merged} == {100}


def test_what_a_driver_does_not_tell_is_null() -> None:
    report = idle_report(Device("vulkan", "a GPU", GIB))
    assert (report.total, report.used, report.allocated) == (GIB, None, None)


def test_sql_shows_each_open_model(gpu: None, minilm_dir: Path, tmp_path: Path) -> None:
    gc.collect()
    device_session._open_sessions.clear()
    environment = {"AIOS_ENGINE__TEXT_MODEL": str(minilm_dir), "AIOS_DEVICE__TARGET": "cuda"}
    config = load_config(None, environment)
    with aios_db.connect(tmp_path / "agent.aios", config=config) as con:
        (row,) = con.execute("SELECT device, name, model, total, resident_weights FROM vram()").fetchall()
        assert row[:2] == ("cuda", "stand-in")
        con.remember(["a text to embed"])
        rows = con.execute("SELECT model, resident_weights, streamed_weights FROM vram()").fetchall()
        weights = {model: resident for model, resident, _ in rows}
        (name,) = (model for model in weights if model and model.startswith("minilm@"))
        assert weights[name] > 80_000_000
    assert vram_of_process(DeviceConfig())


def test_sql_on_a_cpu_is_a_row_of_zeros(tmp_path: Path) -> None:
    gc.collect()
    device_session._open_sessions.clear()
    with aios_db.connect(tmp_path / "agent.aios") as con:
        rows = con.execute("SELECT total, used, resident_weights FROM vram()").fetchall()
        assert len(rows) == 1
        if vram_of_process(DeviceConfig())[0].device in ("cpu", "arm"):
            assert rows == [(0, 0, 0)]
        assert con.execute("SELECT count(*) FROM vram() WHERE device IS NULL").fetchone() == (0,)


@pytest.mark.parametrize("as_json", [False, True])
def test_doctor_watches(
    gpu: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    as_json: bool,
) -> None:
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching.time, "sleep", sleep)
    status = main(["doctor", "--watch", "0.5", *(["--json"] if as_json else [])])
    assert status == 130
    lines = capsys.readouterr().out.strip().splitlines()
    assert len(lines) == 3
    assert slept == [0.5, 0.5, 0.5]
    if as_json:
        state = json.loads(lines[0])
        assert state["device"] == {"device": "cuda", "name": "stand-in", "total": 8 * GIB, "used": None}
        assert state["memory"] is None or state["memory"]["available"] > 0
    else:
        assert "cuda, stand-in: use not told of 8,192 MiB" in lines[0]


def test_doctor_has_a_row_for_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIOS_DEVICE__TARGET", "cpu")
    main(["doctor", "--db", str(tmp_path / "none.aios"), "--json"])
    findings = {each["check"]: each for each in json.loads(capsys.readouterr().out)}
    assert findings["device memory"]["status"] == "ok"
    assert findings["device memory"]["detail"].endswith(": no memory of its own")
