"""The lab's language model: a character-level Llama decoder of about one million parameters.

The warm-started weights come with the package (`checkpoint/model.safetensors`, 16-bit floats) and
are trained in 32-bit floats. Nothing here touches the network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dissensus._optional import require
from dissensus.errors import InputError
from dissensus.lab.tokenizer import ALPHABET

if TYPE_CHECKING:
    from transformers import LlamaConfig, LlamaForCausalLM

__all__ = [
    "CHECKPOINT",
    "build_config",
    "build_model",
    "load_model",
    "round_weights",
    "save_weights",
]

CHECKPOINT = Path(__file__).parent / "checkpoint" / "model.safetensors"
_HEAD = "lm_head.weight"  # tied to the embedding: stored once


def build_config() -> LlamaConfig:
    """The architecture: 4 layers of width 144, 4 heads, tied embeddings; 999,648 parameters."""
    transformers = require("transformers", "lab")
    config: LlamaConfig = transformers.LlamaConfig(
        vocab_size=len(ALPHABET) + 3,
        hidden_size=144,
        intermediate_size=384,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=None,
        attention_dropout=0.0,
    )
    return config


def build_model(seed: int) -> LlamaForCausalLM:
    """An untrained model in 32-bit floats, its weights a function of `seed` alone.

    The global random state of torch is left as it was.
    """
    torch = require("torch", "lab")
    transformers = require("transformers", "lab")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: LlamaForCausalLM = transformers.LlamaForCausalLM(build_config())
    model.generation_config.pad_token_id = 0
    return model.float()


def load_model(path: str | Path | None = None) -> LlamaForCausalLM:
    """The model with saved weights, by default the warm-started ones of the package.

    Args:
        path: A safetensors file written by `save_weights`.

    Raises:
        InputError: The file is absent, or holds another architecture.
        MissingDependencyError: The extra `lab` is not installed.
    """
    file = Path(path) if path is not None else CHECKPOINT
    if not file.is_file():
        raise InputError("no such checkpoint", where="load_model", got=str(file))
    safetensors = require("safetensors.torch", "lab")
    model = build_model(0)
    weights = {name: value.float() for name, value in safetensors.load_file(file).items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if set(missing) - {_HEAD} or unexpected:
        raise InputError(
            "the checkpoint does not fit the lab's model",
            where=str(file),
            got=sorted({*missing, *unexpected} - {_HEAD})[:3],
        )
    model.tie_weights()
    return model


def save_weights(model: LlamaForCausalLM, path: str | Path, *, recipe: str = "") -> None:
    """Write the weights as 16-bit floats (about 2 MB); `load_model` reads them.

    Args:
        model: The model.
        path: The file; its folder is made.
        recipe: What made the weights, kept in the file's metadata.
    """
    torch = require("torch", "lab")
    safetensors = require("safetensors.torch", "lab")
    weights = {
        name: value.detach().to(torch.float16).contiguous()
        for name, value in model.state_dict().items()
        if name != _HEAD
    }
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    safetensors.save_file(weights, str(path), metadata={"format": "pt", "recipe": recipe})


def round_weights(model: LlamaForCausalLM) -> None:
    """Round the weights, in place, to what `save_weights` keeps of them."""
    torch = require("torch", "lab")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(torch.float16).float())
