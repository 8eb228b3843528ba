"""A random two-layer Llama with a word-level tokenizer: TRL trains it in milliseconds, offline."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig

torch.set_num_threads(1)  # two threads on tensors this small only wait for each other

FOLDER = Path(tempfile.mkdtemp(prefix="dissensus-tiny-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)

PAD, EOS, UNK = "<pad>", "<eos>", "<unk>"
WORDS = [str(i) for i in range(10)] + ["+", "=", "a", "b", "c", "d"]


def tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {word: i for i, word in enumerate([PAD, EOS, UNK, *WORDS])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNK,
    )


def model(seed: int = 0) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=3 + len(WORDS),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
    )
    # By way of a folder, because TRL loads a reference model by the policy's name.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = FOLDER / str(seed)
        if not folder.exists():
            LlamaForCausalLM(config).save_pretrained(folder)
        return LlamaForCausalLM.from_pretrained(folder)


def dataset(n: int = 16) -> Dataset:
    """Prompts of unequal length, each with its own answer column."""
    rows = [" ".join([str(i % 10), "+", *([str(i // 10)] * (1 + i % 3)), "="]) for i in range(n)]
    return Dataset.from_dict({"prompt": rows, "answer": [str(i % 10) for i in range(n)]})


def even_digits(completions: list[str], **_: Any) -> list[float]:
    """1 when the completion holds an even number of digits."""
    return [float(sum(c.isdigit() for c in text) % 2 == 0) for text in completions]


def length_reward(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [len(ids) / 10 for ids in completion_ids]


def sometimes_none(completions: list[str], **_: Any) -> list[float | None]:
    """None where the completion begins with a letter."""
    return [None if text[:1].isalpha() else float("1" in text) for text in completions]


def config(output_dir: Any, **changes: Any) -> GRPOConfig:
    settings: dict[str, Any] = {
        "output_dir": str(output_dir),
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 6,
        "max_steps": 2,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
        "gradient_checkpointing": False,
        "disable_tqdm": True,
        "seed": 3,
        **changes,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return GRPOConfig(**settings)


def build(trainer_class: Any, output_dir: Any, *, args: dict[str, Any] | None = None, **more: Any):
    """A trainer of `trainer_class` on the tiny model; `args` change the configuration."""
    settings: dict[str, Any] = {
        "model": model(),
        "reward_funcs": [even_digits],
        "train_dataset": dataset(),
        "processing_class": tokenizer(),
        **more,
    }
    return trainer_class(args=config(output_dir, **(args or {})), **settings)
