"""A character tokenizer for the lab's tasks, built in code: no file, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dissensus._optional import require

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

__all__ = ["ALPHABET", "EOS", "PAD", "UNKNOWN", "build_tokenizer"]

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
ALPHABET = "0123456789+-*%=:s "  # the order is part of the checkpoint


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer of the bundled model: one token per character, padded on the left.

    Characters outside `ALPHABET` become the unknown token; decoding what was encoded gives the
    same text back for text over the alphabet.

    Raises:
        MissingDependencyError: `transformers` is not installed.

    Example:
        >>> tokenizer = build_tokenizer()
        >>> tokenizer("7+5:")["input_ids"]
        [10, 13, 8, 18]
        >>> tokenizer.decode([10, 13, 8, 18])
        '7+5:'
    """
    transformers = require("transformers", "lab")
    tokenizers = require("tokenizers", "lab")
    vocabulary = {token: number for number, token in enumerate((PAD, EOS, UNKNOWN, *ALPHABET))}
    backend = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token=UNKNOWN))
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Split(
        tokenizers.Regex(r"[\s\S]"), behavior="isolated"
    )
    backend.decoder = tokenizers.decoders.Fuse()
    tokenizer: PreTrainedTokenizerFast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=EOS,
        unk_token=UNKNOWN,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    return tokenizer
