"""Older names of keys, two names of one, and names that are nearly one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import aios_db
from aios_db.config import load_config, loaded
from aios_db.schema.config import Config
from aios_db.schema.errors import ConfigError

OLDER = """\
device:
  target: cpu
cpu:
  use_compile: true
  use_ipex: false
  num_threads: 4
gpu:
  use_amp: false
  vram_threshold: 0.8
quantization:
  quant_type: int2
  calibration_method: gptq
  sensitive_layers: [embeddings, pooler]
consolidation:
  time_based_schedule: "0 2 * * *"
  pressure_threshold_mb: 512
  llm_provider: anthropic
  llm_model: a-model
  llm_endpoint: http://127.0.0.1:1
federation:
  enable_delta_sync: true
  delta_threshold: 0.05
"""


def test_a_file_of_the_older_system_means_the_same(load):
    config, errors = load(OLDER)
    assert not errors
    assert (config.device.target, config.device.amp, config.device.vram_threshold) == ("cpu", False, 0.8)
    assert (config.cpu.backend, config.cpu.threads) == ("compile", 4)
    assert (config.quantization.target, config.quantization.method) == ("int2", "gptq")
    assert config.quantization.keep_fp16 == "embeddings, pooler"
    assert config.consolidation.schedule == "0 2 * * *"
    assert config.consolidation.pressure_bytes == 512_000_000
    assert (config.llm.provider, config.llm.model) == ("claude", "a-model")
    assert config.llm.base_url == "http://127.0.0.1:1"
    assert (config.federation.delta_sync, config.federation.density) == (True, 0.05)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("gpu: {use_amp: perhaps}", "c.yaml:1: gpu.use_amp: must be true or false"),
        ("cpu: {use_compile: 3}", "c.yaml:1: cpu.use_compile: must be true or false"),
        (
            "consolidation:\n  pressure_threshold_mb: much",
            "c.yaml:2: consolidation.pressure_threshold_mb: must be",
        ),
        ("gpu: {no_such: 1}", "c.yaml:1: gpu.no_such: there is no section 'gpu'"),
        ("gpu: 3", "c.yaml:1: gpu: "),
    ],
)
def test_what_does_not_fit_an_older_name_is_logged_under_it(load, text, error):
    config, errors = load(text)
    assert (
        config == Config()
        and len(errors) == 1
        and errors[0].removeprefix("invalid configuration: ").startswith(error)
    )


@pytest.mark.parametrize(
    ("text", "env", "threads", "problem"),
    [
        ("cpu: {threads: 4}", {"AIOS_CPU__NUM_THREADS": "x"}, 4, "using that of c.yaml:1: cpu.threads"),
        (
            "cpu:\n  threads: 4\n  num_threads: 2\n",
            {},
            2,
            "c.yaml:3: cpu.num_threads: c.yaml:2: cpu.threads sets the same to something else; using this",
        ),
        (
            "",
            {"AIOS_CPU__NUM_THREADS": "2", "AIOS_CPU__THREADS": "3", "AIOS_CPU__BACKEND": "auto"},
            3,
            "$AIOS_CPU__THREADS: $AIOS_CPU__NUM_THREADS sets the same to something else; using this",
        ),
        (
            "",
            {"AIOS_CPU__THREADS": "3", "AIOS_cpu__threads": "2"},
            2,
            "$AIOS_cpu__threads: $AIOS_CPU__THREADS",
        ),
        ("cpu: {threads: 4, num_threads: 4}", {"AIOS_CPU__NUM_THREADS": "4"}, 4, ""),
        ("cpu: {num_threads: 4}", {"AIOS_CPU__THREADS": "5"}, 5, ""),
    ],
)
def test_two_names_of_one_key_are_one_key(load, text, env, threads, problem):
    config, errors = load(text, **env)
    assert config.cpu.threads == threads
    assert len(errors) == bool(problem) and all(problem in error for error in errors)


def test_the_name_of_today_holds_over_an_older_variable(load):
    config, _ = load("", AIOS_CPU__USE_IPEX="yes", AIOS_CPU__BACKEND="openvino")
    assert config.cpu.backend == "openvino"


def test_a_program_that_contradicts_itself_is_told():
    with pytest.raises(ConfigError, match=r"\['num_threads'\]: config\['cpu'\]\['threads'\] sets the same"):
        load_config(env={}, given={"cpu": {"threads": 4, "num_threads": 2}})


def test_an_older_name_is_read_from_the_environment(load):
    config, errors = load(
        "device: {amp: true}", AIOS_GPU__USE_AMP="false", AIOS_QUANTIZATION__CALIBRATION_METHOD="mixed"
    )
    assert not errors and not config.device.amp
    assert (config.quantization.method, config.quantization.mixed_precision) == ("gptq", True)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("AIOS_RECALL_K", "AIOS_RECALL__K"),
        ("AIOS_CPU_BACKEND", "AIOS_CPU__BACKEND"),
        ("AIOS_LOG_LEVEL", "AIOS_LOGGING__LEVEL"),
        ("AIOS_STRIKT", "AIOS_STRICT"),
        ("AIOS_CONFG", "AIOS_CONFIG"),
    ],
)
def test_a_variable_that_is_nearly_a_key_is_told(variable: str, meant: str) -> None:
    (problem,) = loaded(env={variable: "7"}).problems
    assert problem == f"${variable}: there is no such key (did you mean {meant}?); it is ignored"
    with pytest.raises(aios_db.ConfigError, match="did you mean"):
        load_config(env={variable: "7", "AIOS_STRICT": "true"})


def test_variables_of_ours_and_of_others_are_no_misspelt_keys() -> None:
    code = [*Path(aios_db.__file__).parent.rglob("*.py"), Path(__file__).parents[1] / "conftest.py"]
    ours = {name for file in code for name in re.findall(r"\"(AIOS_[A-Z_]+)\"", file.read_text("utf-8"))}
    assert {"AIOS_DB", "AIOS_CONFIG", "AIOS_FEDERATION_TOKEN"} <= ours
    assert loaded(env=dict.fromkeys({*ours, "AIOS_HOME", "AIOS_KERNEL_URL"}, "")).problems == ()
