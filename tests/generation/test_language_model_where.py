"""Where a language model runs: threads, precision and device come from the configuration."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.decoders import ByteLevel

from aios_db.engine.backends import device_session
from aios_db.engine.backends.accelerator import Accelerator
from aios_db.engine.backends.cpu_features import CpuFeatures
from aios_db.engine.backends.devices import Device
from aios_db.engine.backends.threads import torch_threads
from aios_db.engine.convert.huggingface import convert_huggingface
from aios_db.engine.generation import causal_session
from aios_db.engine.generation.language_model import LanguageModel
from aios_db.schema.config import CpuConfig, DeviceConfig
from aios_db.schema.errors import DeviceError

transformers = pytest.importorskip("transformers")
TEXT = "The quick brown fox jumps over the lazy dog. " * 4


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lm")
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        vocab_size=260, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=200, bos_token_id=None, eos_token_id=None,
    )  # fmt: skip
    reference = transformers.Qwen2ForCausalLM(config).eval()
    for parameter in reference.parameters():
        parameter.data.mul_(3)  # of the small weights after initialisation, every token is as probable
    reference.save_pretrained(path / "hf")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: index for index, symbol in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevel()
    tokenizer.save(str(path / "hf/tokenizer.json"))
    return convert_huggingface(path / "hf", path / "model")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU stands for a GPU: the accelerator's code runs, on torch's device "cpu"."""

    class Stand(Device):
        @property
        def torch_name(self) -> str:
            return "cpu"

    monkeypatch.setattr(device_session, "find_device", lambda config: Stand("cuda", "stand-in"))


def watch_layers(module: torch.nn.Module, note: Callable[[], object]) -> None:
    module.model.layers[1].register_forward_pre_hook(lambda *_: note())  # type: ignore[union-attr, index, operator]


@pytest.mark.parametrize("threads", [1, 3])
def test_a_pass_runs_on_the_threads_of_the_configuration(model_dir: Path, threads: int) -> None:
    before = torch.get_num_threads()
    model = LanguageModel(model_dir, cpu=CpuConfig(threads=threads))
    seen: set[int] = set()
    watch_layers(model._model.module, lambda: seen.add(torch.get_num_threads()))
    model.generate("Once", max_new_tokens=3)
    model.perplexity([TEXT])
    assert seen == {threads}
    assert torch.get_num_threads() == before


def test_models_of_two_threads_keep_their_numbers(model_dir: Path) -> None:
    before = torch.get_num_threads()
    barrier, seen = threading.Barrier(2), {}

    def run(threads: int) -> None:
        model = LanguageModel(model_dir, cpu=CpuConfig(threads=threads))

        def meet() -> None:
            barrier.wait(60)
            seen[threads] = torch.get_num_threads()

        watch_layers(model._model.module, meet)
        model.perplexity(["a text"])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(run, (1, 3)))
    assert seen == {1: 1, 3: 3}
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == before


def test_zero_threads_leave_the_number_alone() -> None:
    before = torch.get_num_threads()
    with torch_threads(0):
        assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


def test_bf16_runs_where_it_is_asked_for(model_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has(monkeypatch, "avx512_bf16")
    exact = LanguageModel(model_dir)
    model = LanguageModel(model_dir, cpu=CpuConfig(precision="bf16"))
    assert model.perplexity([TEXT]) == pytest.approx(exact.perplexity([TEXT]), rel=0.02)
    assert model.perplexity([TEXT]) != exact.perplexity([TEXT])
    assert exact.arithmetic.split() == [exact.device.target, "standard/fp32"]
    assert model.arithmetic.split() == [exact.device.target, "standard/bf16"]
    assert model.generate("Once", max_new_tokens=4, seed=0)


def has(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    features = CpuFeatures("a CPU", "x86_64", 2, frozenset(names))
    monkeypatch.setattr(causal_session, "cpu_features", lambda: features)


@pytest.mark.parametrize(
    ("cpu", "features", "warning"),
    [
        ({"precision": "bf16"}, (), "this CPU does not multiply bf16"),
        ({"precision": "int8"}, (), "it is not quantized"),
        ({"precision": "bf16", "min_cosine": 1.0}, ("avx512_bf16",), "is not above 1"),
        ({"backend": "openvino"}, (), "runs on the standard back end, not on openvino"),
    ],
)
def test_what_cannot_be_had_is_said_and_runs_in_fp32(  # noqa: PLR0917 - fixtures, then the case
    model_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cpu: dict[str, Any],
    features: tuple[str, ...],
    warning: str,
) -> None:
    has(monkeypatch, *features)
    model = LanguageModel(model_dir, cpu=CpuConfig(**cpu))
    assert model.perplexity([TEXT]) == LanguageModel(model_dir).perplexity([TEXT])
    assert warning in caplog.text
    assert model.arithmetic.endswith("standard/fp32")


@pytest.mark.parametrize("budget", [0, 1])
def test_a_device_answers_as_the_cpu_does(model_dir: Path, gpu: None, budget: int) -> None:
    on_device = LanguageModel(model_dir, device=DeviceConfig(target="cuda", vram_budget_bytes=budget))
    assert on_device.vram().resident_weights == 0
    assert on_device.vram().device == "cuda"
    assert on_device.arithmetic == "cuda"
    text = on_device.generate("Once", max_new_tokens=20)
    perplexity = on_device.perplexity([TEXT])
    report = on_device.vram()
    assert report.resident_weights + report.streamed_weights == sum(
        p.numel() * p.element_size() for p in on_device._model.module.parameters()
    )
    assert (report.streamed_weights > 0) is (budget > 0)
    on_device._session._lost = True
    assert on_device.arithmetic == "cuda standard/fp32"
    assert on_device.generate("Once", max_new_tokens=20) == text
    assert on_device.perplexity([TEXT]) == pytest.approx(perplexity, rel=1e-5)


def test_a_device_that_fails_in_the_midst_leaves_the_whole_call_to_the_cpu(
    model_dir: Path, gpu: None, caplog: pytest.LogCaptureFixture
) -> None:
    model = LanguageModel(model_dir, device=DeviceConfig(target="cuda"))
    expected = model.generate("Once", max_new_tokens=12, temperature=1.5, seed=3)
    passes = iter([None, None, torch.OutOfMemoryError("CUDA out of memory")])

    def fail() -> None:
        error = next(passes, None)
        if error is not None:
            raise error

    accelerator = model._session._accelerator
    assert isinstance(accelerator, Accelerator)
    watch_layers(accelerator._placed.module, fail)
    assert model.generate("Once", max_new_tokens=12, temperature=1.5, seed=3) == expected
    assert "cuda (stand-in) failed, the call is finished on the CPU: CUDA out of memory" in caplog.text
    assert model.arithmetic == "cuda"  # memory may be free again


def test_without_fall_back_a_failing_device_is_an_error(model_dir: Path, gpu: None) -> None:
    model = LanguageModel(model_dir, device=DeviceConfig(target="cuda", fallback_enabled=False))
    model.generate("Once", max_new_tokens=1)
    accelerator = model._session._accelerator
    assert isinstance(accelerator, Accelerator)

    def fail() -> None:
        raise RuntimeError("device lost")

    watch_layers(accelerator._placed.module, fail)
    with pytest.raises(DeviceError, match="device lost"):
        model.perplexity([TEXT])


def test_vulkan_runs_no_language_models_and_says_so(
    model_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("ncnn")
    monkeypatch.setattr(device_session, "find_device", lambda config: Device("vulkan", "stand-in"))
    model = LanguageModel(model_dir, device=DeviceConfig(target="vulkan"))
    assert (
        model.perplexity([TEXT])
        == LanguageModel(model_dir, device=DeviceConfig(target="cpu")).perplexity([TEXT])
        or "vulkan (stand-in) failed" in caplog.text
    )


def test_an_unknown_device_is_refused_without_fall_back(model_dir: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    model = LanguageModel(model_dir, device=DeviceConfig(target="cuda", fallback_enabled=False))
    with pytest.raises(DeviceError, match=r"device\.target cuda: "):
        model.generate("Once", max_new_tokens=1)
