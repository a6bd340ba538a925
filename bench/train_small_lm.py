"""Train a small Qwen2-architecture language model on a text file and write it as a model directory.

    python bench/train_small_lm.py CORPUS.txt TARGET [--steps 500] [--json FILE]

The last tenth of the corpus is held out; the perplexity on it is what quantization is measured against. The
run is seeded: the same versions on the same machine give the same weights. The model has 5.2 million
parameters; 500 steps over a corpus of a megabyte take about ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional as F

from aios_db.engine.architectures.qwen2 import Qwen2Config, Qwen2ForCausalLM
from aios_db.engine.convert.model_writer import write_model
from aios_db.engine.generation.language_model import LanguageModel

START, VOCABULARY, POSITIONS = "<|endoftext|>", 2048, 512
CONFIG = Qwen2Config(
    vocab_size=VOCABULARY,
    hidden_size=256,
    intermediate_size=768,
    num_hidden_layers=6,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=64,
    max_position_embeddings=POSITIONS,
    rms_norm_eps=1e-6,
    rope_theta=10000.0,
    attention_bias=True,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--split", type=Path, help="write training.txt, development.txt and test.txt there")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    text = arguments.corpus.read_text(encoding="utf-8")
    cut = text.rindex("\n", 0, len(text) * 9 // 10)
    training, held_out = text[:cut], text[cut:]
    if arguments.split:
        write_split(training, held_out, arguments.split)
    tokenizer = train_tokenizer(training)
    tokens = torch.tensor(tokenizer.encode(training, add_special_tokens=False).ids)
    start = time.perf_counter()
    model = train(tokens, arguments)
    seconds = time.perf_counter() - start
    write(model, tokenizer, arguments.target)

    language_model = LanguageModel(arguments.target)
    report = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "training_tokens": tokens.numel(),
        "steps": arguments.steps,
        "seconds": round(seconds, 1),
        "held_out_bytes": len(held_out.encode()),
        "held_out_perplexity": language_model.perplexity([held_out]),
        "torch": torch.__version__,
        "machine": platform.machine(),
    }
    for name, value in report.items():
        print(f"{name:22} {value}")
    print(f"{'continuation':22} {language_model.generate('The film was', max_new_tokens=30)!r}")
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1))


def write_split(training: str, held_out: str, directory: Path) -> None:
    """Write what the model is trained on, and the two halves of what it is not."""
    middle = held_out.rindex("\n", 0, len(held_out) // 2)
    directory.mkdir(parents=True, exist_ok=True)
    parts = {"training": training, "development": held_out[:middle], "test": held_out[middle:]}
    for name, text in parts.items():
        (directory / f"{name}.txt").write_text(text, encoding="utf-8")


def train_tokenizer(text: str) -> Tokenizer:
    """Train byte-level byte-pair encoding; every text starts with a token of its own."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.splitlines(keepends=True), trainer)
    first = tokenizer.token_to_id(START)
    tokenizer.post_processor = processors.TemplateProcessing(f"{START} $A", special_tokens=[(START, first)])
    return tokenizer


def train(tokens: torch.Tensor, arguments: argparse.Namespace) -> Qwen2ForCausalLM:
    """Minimise the next token's cross-entropy with AdamW, warm-up and a cosine schedule."""
    torch.manual_seed(arguments.seed)
    model = Qwen2ForCausalLM(CONFIG)
    model.lm_head.weight = model.model.embed_tokens.weight
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            residual = name.endswith(("o_proj.weight", "down_proj.weight"))
            depth = math.sqrt(2 * CONFIG.num_hidden_layers) if residual else 1.0
            torch.nn.init.normal_(parameter, std=0.02 / depth)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=arguments.learning_rate, betas=(0.9, 0.95), weight_decay=0.1
    )
    warm_up = max(1, arguments.steps // 20)

    def rate(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        progress = (step - warm_up) / max(1, arguments.steps - warm_up)
        return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    start_id = torch.zeros(arguments.batch, 1, dtype=torch.long)  # START is token 0
    for step in range(arguments.steps):
        offsets = torch.randint(0, tokens.numel() - arguments.length, (arguments.batch,))
        rows = torch.stack([tokens[offset : offset + arguments.length] for offset in offsets])
        logits = model(torch.cat((start_id, rows[:, :-1]), 1))
        loss = F.cross_entropy(logits.flatten(0, 1), rows.flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == arguments.steps - 1:
            print(f"step {step:5} loss {loss.item():.3f}", flush=True)
    return model


def write(model: Qwen2ForCausalLM, tokenizer: Tokenizer, target: Path) -> None:
    """Write a model directory in the V1 layout."""
    sizes: dict[str, Any] = {
        name: getattr(CONFIG, name) for name in CONFIG.__dataclass_fields__ if name != "attention_bias"
    }
    described = {
        "model_type": "causallm",
        "model_info": {
            "architecture": "Qwen2ForCausalLM",
            "embedding_dimension": CONFIG.hidden_size,
            **sizes,
            "eos_token_ids": [tokenizer.token_to_id(START)],
        },
    }
    weights = ((name, tensor.detach().clone()) for name, tensor in model.state_dict().items())
    write_model(target, target.name, described, weights, tokenizer=tokenizer.to_str())


if __name__ == "__main__":
    main()
