"""Continue and score texts, against transformers and against the definitions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from tokenizers.decoders import ByteLevel

from aios_db.engine.convert.huggingface import convert_huggingface
from aios_db.engine.convert.llama2c import convert_llama2c
from aios_db.engine.generation.causal import windows
from aios_db.engine.generation.language_model import LanguageModel
from aios_db.engine.generation.sampling import Sampler
from aios_db.schema.errors import DataError, WeightsError

transformers = pytest.importorskip("transformers")
VOCABULARY = 260  # 256 bytes, then four special tokens
TEXT = "The quick brown fox jumps over the lazy dog. " * 4


def byte_tokenizer(*, first: bool) -> Tokenizer:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({symbol: index for index, symbol in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = ByteLevel()
    tokenizer.add_special_tokens(["<s>", "<|im_end|>"])
    if first:
        tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 256)])
    return tokenizer


def write_pair(path: Path, *, first: bool = False, **change: object) -> tuple[torch.nn.Module, Path]:
    torch.manual_seed(0)
    config = transformers.Qwen2Config(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 200,
            "bos_token_id": None,
            "eos_token_id": None,
            **change,
        }
    )
    reference = transformers.Qwen2ForCausalLM(config).eval()
    for parameter in reference.parameters():
        parameter.data.mul_(3)  # of the small weights after initialisation, every token is as probable
    reference.save_pretrained(path / "hf")
    byte_tokenizer(first=first).save(str(path / "hf/tokenizer.json"))
    return reference, convert_huggingface(path / "hf", path / "model")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, LanguageModel]:
    reference, path = write_pair(tmp_path_factory.mktemp("lm"))
    return reference, LanguageModel(path)


def losses(reference: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        logits = reference(torch.tensor([ids])).logits[0, :-1]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(ids[1:]), reduction="none")


def test_perplexity_of_short_texts_equals_transformers(pair: tuple[torch.nn.Module, LanguageModel]) -> None:
    reference, model = pair
    texts = [TEXT, "Hello", "", "x"]
    every = torch.cat([losses(reference, model._encode(text)) for text in texts[:2]])
    assert model.perplexity(texts) == pytest.approx(float(every.mean().exp()), rel=1e-4)


def test_long_texts_are_scored_in_windows_that_overlap_by_half(
    pair: tuple[torch.nn.Module, LanguageModel],
) -> None:
    reference, model = pair
    ids = model._encode(TEXT)
    parts = [losses(reference, ids[:40])]
    for end in range(60, len(ids) + 1, 20):
        parts.append(losses(reference, ids[end - 40 : end])[-20:])
    rest = (len(ids) - 40) % 20
    if rest:
        parts.append(losses(reference, ids[-40:])[-rest:])
    expected = float(torch.cat(parts).mean().exp())
    assert sum(part.numel() for part in parts) == len(ids) - 1
    assert model.perplexity([TEXT], window=40) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("length", [0, 1, 2, 9, 10, 11, 14, 15, 16, 99, 100])
@pytest.mark.parametrize("size", [2, 5, 10])
def test_windows_score_every_token_but_the_first_once(length: int, size: int) -> None:
    tokens = list(range(length))
    scored = Counter(token for window, first in windows(tokens, size) for token in window[first:])
    assert scored == Counter(tokens[1:])
    assert all(len(window) <= size and first >= 1 for window, first in windows(tokens, size))


def test_nothing_to_score_is_an_error(pair: tuple[torch.nn.Module, LanguageModel]) -> None:
    with pytest.raises(DataError, match="perplexity of no tokens"):
        pair[1].perplexity(["", "x"])
    with pytest.raises(DataError, match="window of 1 tokens"):
        pair[1].perplexity([TEXT], window=1)


def test_greedy_continuation_equals_transformers(pair: tuple[torch.nn.Module, LanguageModel]) -> None:
    reference, model = pair
    ids = model._encode("Once upon a")
    for _ in range(20):
        with torch.inference_mode():
            ids.append(int(reference(torch.tensor([ids])).logits[0, -1].argmax()))
    expected = model._tokenizer.decode(ids)[len("Once upon a") :]
    assert model.generate("Once upon a", max_new_tokens=20) == expected


def test_continuation_ends_where_the_positions_end(pair: tuple[torch.nn.Module, LanguageModel]) -> None:
    model = pair[1]
    prompt = "a" * 190
    passes: list[int] = []
    hook = model._model.module.lm_head.register_forward_hook(lambda *_: passes.append(1))
    model.generate(prompt, max_new_tokens=50)
    hook.remove()
    assert len(passes) == 10
    with pytest.raises(DataError, match="200 tokens; the model takes 200"):
        model.generate("a" * 200)


def test_continuation_stops_before_an_end_token(tmp_path: Path) -> None:
    reference, path = write_pair(tmp_path)
    ids = LanguageModel(path)._encode("Once")
    with torch.inference_mode():
        first = int(reference(torch.tensor([ids])).logits[0, -1].argmax())
    (tmp_path / "ends").mkdir()
    _, ending = write_pair(tmp_path / "ends", eos_token_id=first)
    assert LanguageModel(ending).generate("Once") == ""


def test_end_token_is_found_in_the_tokenizer_of_older_models(
    pair: tuple[torch.nn.Module, LanguageModel],
) -> None:
    assert pair[1]._ends == {257}


def test_draws_repeat_with_a_seed_and_differ_without(pair: tuple[torch.nn.Module, LanguageModel]) -> None:
    model = pair[1]
    drawn = {
        seed: model.generate("Once", max_new_tokens=12, temperature=2.0, seed=seed) for seed in (1, 2, 3, 4)
    }
    assert len(set(drawn.values())) > 1
    assert model.generate("Once", max_new_tokens=12, temperature=2.0, seed=1) == drawn[1]


def test_an_empty_prompt_needs_a_first_token(
    pair: tuple[torch.nn.Module, LanguageModel], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="the prompt is empty"):
        pair[1].generate("")
    _, path = write_pair(tmp_path, first=True)
    assert isinstance(LanguageModel(path).generate("", max_new_tokens=3), str)


def test_lone_surrogates_do_not_crash(pair: tuple[torch.nn.Module, LanguageModel]) -> None:
    assert math.isfinite(pair[1].perplexity(["a\ud800b"]))


def test_a_directory_without_tokenizer_is_refused(tmp_path: Path) -> None:
    _, path = write_pair(tmp_path)
    tokenizer = path / "tokenizer/tokenizer.json"
    tokenizer.write_text("{}")
    with pytest.raises(WeightsError, match="no readable tokenizer"):
        LanguageModel(path)
    tokenizer.unlink()
    with pytest.raises(WeightsError, match=r"no tokenizer\.json"):
        LanguageModel(path)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path) -> None:
    _, path = write_pair(tmp_path, vocab_size=100)
    with pytest.raises(WeightsError, match="the tokenizer knows tokens that the model does not"):
        LanguageModel(path).perplexity(["zzz\xff"])


def test_a_model_without_metadata_is_refused(tmp_path: Path) -> None:
    _, path = write_pair(tmp_path)
    (path / "metadata.json").unlink()
    with pytest.raises(WeightsError, match=r"no model_info\."):
        LanguageModel(path)


def test_top_k_and_top_p_leave_out_the_improbable() -> None:
    logits = torch.log(torch.tensor([0.1, 0.5, 0.05, 0.35]))
    by_count = Sampler(temperature=1.0, top_k=2, seed=0)
    by_mass = Sampler(temperature=1.0, top_p=0.6, seed=0)
    only_best = Sampler(temperature=1.0, top_p=0.5, seed=0)
    assert {by_count.pick(logits) for _ in range(60)} == {1, 3}
    assert {by_mass.pick(logits) for _ in range(60)} == {1, 3}
    assert {only_best.pick(logits) for _ in range(60)} == {1}
    assert Sampler().pick(logits) == 1


def test_draws_follow_the_probabilities() -> None:
    sampler = Sampler(temperature=1.0, seed=0)
    counts = Counter(sampler.pick(torch.log(torch.tensor([0.2, 0.8]))) for _ in range(2000))
    assert counts[1] / 2000 == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize("bad", [{"temperature": -1.0}, {"top_k": -1}, {"top_p": 0.0}, {"top_p": 1.5}])
def test_arguments_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(DataError, match="temperature"):
        Sampler(**bad)  # type: ignore[arg-type]


def test_real_stories_model(evaluation: Callable[[str], Path], tmp_path: Path) -> None:
    source = evaluation("models/stories260K")
    model = LanguageModel(
        convert_llama2c(source / "stories260K.bin", source / "tok512.bin", tmp_path / "stories")
    )
    story = model.generate("Once upon a time", max_new_tokens=120)
    assert story.startswith(", there was a little girl named Lily.")
    assert model.perplexity(["Once upon a time" + story]) < 2
    shuffled = " ".join(sorted(story.split()))
    assert model.perplexity([shuffled]) > 20
