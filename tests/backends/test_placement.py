"""What can be known of a GPU without one: which tensors are on it, and mixed precision (the CPU has that)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode

from aios_db.engine.architectures.registry import build_model
from aios_db.engine.architectures.whisper import WhisperMean
from aios_db.engine.architectures.whisper_clip import MARGIN, WhisperClipMean, silence_after, silence_table
from aios_db.engine.backends.accelerator import Accelerator
from aios_db.engine.backends.placement import PlacedModule
from aios_db.engine.backends.protocol import Program
from aios_db.schema.config import DeviceConfig

BERT = {
    "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "num_hidden_layers": 3,
    "vocab_size": 50, "max_position_embeddings": 16,
}  # fmt: skip
WHISPER = {
    "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "num_layers": 3,
    "num_mel_bins": 8, "max_source_positions": 400,
}  # fmt: skip
CLIP = {
    "hidden_size": 32, "num_attention_heads": 2, "intermediate_size": 64, "num_layers": 3, "image_size": 32,
    "patch_size": 8, "projection_dim": 16,
}  # fmt: skip


def filled(architecture: str, config: dict[str, int]) -> nn.Module:
    torch.manual_seed(0)
    model = build_model(architecture, config)
    for path, parameter in list(model.named_parameters()):
        owner, _, leaf = path.rpartition(".")
        values = torch.randn(parameter.shape) * 0.2 + (
            1.0 if "norm" in path.lower() and leaf == "weight" else 0
        )
        setattr(model.get_submodule(owner), leaf, nn.Parameter(values, requires_grad=False))
    return model.eval()


def bert() -> tuple[nn.Module, tuple[Tensor, ...]]:
    ids = torch.randint(0, 50, (2, 8))
    return filled("BertModel", BERT), (ids, (torch.arange(8) < torch.tensor([[8], [5]])).long())


def whisper() -> tuple[nn.Module, tuple[Tensor, ...]]:
    module = WhisperMean(filled("Whisper", WHISPER)).eval()  # type: ignore[arg-type]
    return module, (torch.randn(2, 8, 800), torch.rand(2, 400))


def clip_of_sound() -> tuple[nn.Module, tuple[Tensor, ...]]:
    encoder: Any = filled("Whisper", WHISPER)
    silence = silence_after(silence_table(encoder), 50, torch.tensor([-1.0, -0.5]))
    module = WhisperClipMean(encoder).eval()
    return module, (torch.randn(2, 8, 2 * (50 + MARGIN + 1)), silence, torch.rand(2, 50))


def picture() -> tuple[nn.Module, tuple[Tensor, ...]]:
    return filled("ViT", CLIP), (torch.randn(2, 3, 32, 32),)


MODELS = [bert, whisper, clip_of_sound, picture]
Make = Callable[[], tuple[nn.Module, tuple[Tensor, ...]]]


class OnDevice(Tensor):
    """A tensor that stands for one on a GPU: nothing is computed from it and one of the host."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for value in flatten((args, tuple((kwargs or {}).values()))):
            on_host = isinstance(value, Tensor) and not isinstance(value, OnDevice)
            assert not (on_host and value.dim()), f"{func.__name__} is given a tensor of the host"
        return super().__torch_function__(func, types, args, kwargs)


def flatten(value: Any) -> Iterator[Any]:
    if isinstance(value, (tuple, list)):
        for part in value:
            yield from flatten(part)
    else:
        yield value


def to_device(owner: nn.Module, tensor: Tensor) -> Tensor:
    return tensor.detach().clone().as_subclass(OnDevice)


@pytest.mark.parametrize("budget", [0, 1])
@pytest.mark.parametrize("make", MODELS)
def test_every_operand_is_on_the_device(make: Make, budget: int) -> None:
    module, inputs = make()
    with torch.inference_mode():
        expected = module(*inputs)
        placed = PlacedModule(module, to_device, budget)
        output = placed.module(*(to_device(module, x) for x in inputs))
    assert isinstance(output, OnDevice)
    assert torch.allclose(output.as_subclass(Tensor), expected, atol=1e-5)


def test_buffers_move_with_the_parameters() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)
            self.register_buffer("scale", torch.full((4,), 2.0))

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(x) * self.scale

    module = Scaled()
    with torch.inference_mode():
        placed = PlacedModule(module, to_device)
        assert isinstance(placed.module(to_device(module, torch.ones(3, 4))), OnDevice)
    assert not isinstance(module.scale, OnDevice)


@pytest.mark.parametrize("budget", [0, 1])
@pytest.mark.parametrize("make", MODELS)
def test_mixed_precision_keeps_the_direction(make: Make, budget: int) -> None:
    """As on a GPU, but with the CPU's autocast: matrices in bf16, norms and sums in fp32."""
    module, inputs = make()
    arrays = tuple(x.numpy() for x in inputs)
    program = Program(
        name="toy@0", module=lambda: module, load=lambda: None, shapes=(), calibration=list, check=list
    )
    accelerator = Accelerator(program, torch.device("cpu"), DeviceConfig())
    accelerator._amp = torch.bfloat16
    accelerator._placed = PlacedModule(module, accelerator._place, budget)
    (output,) = accelerator.run([arrays])
    kinds = {p.dtype for p in accelerator._placed.module.parameters() if not p.is_meta}
    assert torch.bfloat16 in kinds or budget
    with torch.inference_mode():
        expected = module(*inputs)
    cosines = torch.cosine_similarity(torch.from_numpy(output), expected)
    assert cosines.min() > 0.999


@pytest.mark.parametrize("share", [1.0, 0.99])
def test_the_budget_counts_bytes_as_they_are_on_the_device(share: float) -> None:
    module, _ = bert()

    def dtype_of(owner: nn.Module, parameter: Tensor) -> torch.dtype:
        return torch.bfloat16 if isinstance(owner, nn.Linear) else torch.float32

    def place(owner: nn.Module, parameter: Tensor) -> Tensor:
        return parameter.detach().to(dtype_of(owner, parameter))

    needed = sum(PlacedModule(module, place).device_bytes().values())
    assert needed < 0.7 * sum(4 * p.numel() for p in module.parameters())
    placed = PlacedModule(module, place, int(share * needed), dtype_of=dtype_of)
    assert placed.resident_bytes + placed.streamed_bytes == needed
    assert sum(placed.device_bytes().values()) == placed.resident_bytes
    assert (placed.streamed_bytes == 0) == (share == 1)


class Indexing(TorchFunctionMode):
    """Index tensors by operators: torch without CUDA refuses to index one that says it is on a GPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.__getitem__:
            return func(*args, **(kwargs or {}))
        result, dim = args[0], 0
        for part in args[1] if isinstance(args[1], tuple) else (args[1],):
            if isinstance(part, int):
                result = torch.ops.aten.select(result, dim, part)
                continue
            if part is None:
                result = result.unsqueeze(dim)
            else:
                result = torch.ops.aten.slice(result, dim, part.start, part.stop, part.step or 1)
            dim += 1
        return result


@pytest.fixture(params=[torch.bfloat16, torch.float16])
def cuda_autocast(request: pytest.FixtureRequest) -> Iterator[torch.dtype]:
    """CUDA's rules of mixed precision, which are not the CPU's: there LayerNorm, for one, is in fp32."""
    before = torch.get_autocast_dtype("cuda"), torch.is_autocast_cache_enabled()
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", request.param)
    torch.set_autocast_cache_enabled(False)
    yield request.param
    torch.set_autocast_enabled("cuda", False)
    torch.set_autocast_dtype("cuda", before[0])
    torch.set_autocast_cache_enabled(before[1])


@pytest.mark.parametrize("make", MODELS)
def test_a_pass_on_cuda_mixes_types_as_it_should_and_never_asks_for_a_value(
    make: Make, cuda_autocast: torch.dtype
) -> None:
    """Tensors without values: reading one, as no recorded graph may, or one of the host is an error."""
    fake = FakeTensorMode()
    module, inputs = make()

    def place(owner: nn.Module, parameter: Tensor) -> Tensor:
        matrix = isinstance(owner, (nn.Linear, nn.Conv1d, nn.Conv2d))
        with fake:
            return torch.empty(
                parameter.shape, dtype=cuda_autocast if matrix else parameter.dtype, device="cuda"
            )

    kinds: dict[type[nn.Module], set[torch.dtype]] = defaultdict(set)
    placed = PlacedModule(module, place)
    for part in placed.module.modules():
        part.register_forward_hook(lambda part, _, output: kinds[type(part)].add(output.dtype))
    with fake, Indexing(), torch.inference_mode():
        output = placed.module(*(torch.empty(x.shape, dtype=x.dtype, device="cuda") for x in inputs))
    assert output.device.type == "cuda"
    assert output.shape == module(*inputs).shape
    assert kinds[nn.LayerNorm] == {torch.float32}
    assert kinds[nn.Linear] == {cuda_autocast}


class Recorder:
    """Stands for a copy stream, and writes down in which order things are asked of it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.marks = 0

    def start(self, copy: Callable[[], Any]) -> tuple[Any, str]:
        self.log.append("copy")
        return copy(), "event"

    def await_copies(self, tensors: list[Tensor], event: str) -> None:
        assert event == "event"
        assert tensors
        self.log.append("wait")

    def mark(self) -> Any:
        name = self.marks
        self.marks += 1
        self.log.append(f"mark {name}")
        return SimpleNamespace(synchronize=lambda: self.log.append(f"done {name}"))


def test_the_host_queues_no_more_copies_than_two_layers() -> None:
    recorder: Any = Recorder()
    module, inputs = bert()
    with torch.inference_mode():
        placed = PlacedModule(module, lambda owner, p: p.detach().clone(), 1, recorder)
        assert torch.equal(placed.module(*inputs), module(*inputs))
    # The embeddings, then three layers; a copy waits until the layer before the last has been computed.
    assert recorder.log == [
        "copy", "wait", "mark 0", "copy", "wait", "done 0", "mark 1", "copy", "wait", "done 1", "mark 2",
        "copy", "wait",
    ]  # fmt: skip


def test_streamed_weights_that_were_released_come_back() -> None:
    module, inputs = bert()
    held = {name: p.detach().clone() for name, p in module.named_parameters()}

    def load() -> None:
        for path, parameter in list(module.named_parameters()):
            owner, _, leaf = path.rpartition(".")
            if parameter.is_meta:
                setattr(module.get_submodule(owner), leaf, nn.Parameter(held[path], requires_grad=False))

    program = Program(name="toy@0", module=lambda: module, load=load, shapes=(), calibration=list, check=list)
    accelerator = Accelerator(program, torch.device("cpu"), replace(DeviceConfig(), vram_budget_bytes=1))
    arrays = tuple(x.numpy() for x in inputs)
    (before,) = accelerator.run([arrays])
    for path, parameter in list(module.named_parameters()):
        owner, _, leaf = path.rpartition(".")
        setattr(
            module.get_submodule(owner), leaf, nn.Parameter(torch.empty_like(parameter, device="meta"), False)
        )
    (after,) = accelerator.run([arrays])
    assert (before == after).all()
