"""The character tokenizer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dissensus.lab.tokenizer import ALPHABET, EOS, build_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


@given(st.text(alphabet=ALPHABET, min_size=1))
def test_text_over_the_alphabet_survives_and_takes_one_token_per_character(text):
    tokenizer = build_tokenizer()
    ids = tokenizer(text)["input_ids"]
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text


@given(st.text())
def test_any_text_encodes_and_foreign_characters_are_unknown(text):
    tokenizer = build_tokenizer()
    ids = tokenizer(text)["input_ids"]
    foreign = sum(char not in ALPHABET for char in text)
    assert len(ids) == len(text)
    assert ids.count(tokenizer.unk_token_id) == foreign


def test_batches_are_padded_on_the_left(tokenizer):
    batch = tokenizer(["1+2=", "s9="], padding=True)
    assert batch["input_ids"][1][0] == tokenizer.pad_token_id
    assert batch["attention_mask"] == [[1, 1, 1, 1], [0, 1, 1, 1]]


def test_special_tokens_are_skipped_when_decoding(tokenizer):
    ids = [*tokenizer("42")["input_ids"], tokenizer.eos_token_id, tokenizer.pad_token_id]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "42"
    assert tokenizer.decode(ids).startswith(f"42{EOS}")
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
