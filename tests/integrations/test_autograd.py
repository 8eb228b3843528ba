"""Scores and updates of a tiny language model, against finite differences and the identity."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from dissensus import RewardGroups, advantages  # noqa: E402
from dissensus.core import anatomy  # noqa: E402
from dissensus.errors import InputError  # noqa: E402
from dissensus.integrations import autograd  # noqa: E402


@pytest.fixture(scope="module")
def model():
    """A GPT-2 in true double precision: Llama computes its norms in float32 whatever it is told."""
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=11,
            n_positions=32,
            n_embd=8,
            n_layer=2,
            n_head=2,
            initializer_range=0.4,
            tie_word_embeddings=False,
            bos_token_id=None,
            eos_token_id=None,
        )
        return GPT2LMHeadModel(config).double().eval()


@pytest.fixture(scope="module")
def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=11,
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=2,
            max_position_embeddings=32,
            initializer_range=0.4,
        )
        return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def tokens():
    """Eight rollouts of one prompt, of lengths 1 … 5, the prompt padded on the left."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.tensor([5, 1, 3, 2, 5, 4, 3, 1])
    mask = (torch.arange(5)[None, :] < lengths[:, None]).long()
    prompt = torch.tensor([[0, 0, 4, 7, 9]]).repeat(8, 1)
    prompt_mask = torch.tensor([[0, 0, 1, 1, 1]]).repeat(8, 1)
    ids = torch.randint(0, 11, (8, 5), generator=generator) * mask
    return autograd.RolloutTokens(prompt, prompt_mask, ids, mask)


@pytest.mark.parametrize("positions", ["rotary", "absolute"])
def test_log_likelihoods_are_those_of_the_model_read_token_by_token(request, tokens, positions):
    model = request.getfixturevalue("llama" if positions == "rotary" else "model")
    got = autograd.completion_log_likelihoods(model, tokens).detach()
    for i in range(8):
        read = tokens.prompt_ids[i][tokens.prompt_mask[i].bool()].tolist()
        for t in range(5):
            if not tokens.completion_mask[i, t]:
                assert got[i, t] == 0
                continue
            logits = model(input_ids=torch.tensor([read])).logits[0, -1].detach()
            token = int(tokens.completion_ids[i, t])
            exact = logits[token] - torch.logsumexp(logits, 0)
            assert got[i, t].item() == pytest.approx(exact.item(), abs=1e-5)
            read.append(token)


def test_a_score_is_the_derivative_of_the_log_likelihood(model, tokens):
    scores = autograd.rollout_scores(model, tokens)
    generator = torch.Generator().manual_seed(2)
    parameters = list(model.parameters())
    direction = torch.randn(scores.shape[1], generator=generator, dtype=torch.float64)
    pieces = torch.split(direction, [p.numel() for p in parameters])

    def likelihoods_at(step):
        with torch.no_grad():
            for parameter, piece in zip(parameters, pieces, strict=True):
                parameter.add_(step * piece.view_as(parameter))
            values = autograd.completion_log_likelihoods(model, tokens).sum(dim=1)
            for parameter, piece in zip(parameters, pieces, strict=True):
                parameter.sub_(step * piece.view_as(parameter))
        return values

    slope = (likelihoods_at(1e-6) - likelihoods_at(-1e-6)) / 2e-6
    assert (scores @ direction).tolist() == pytest.approx(slope.tolist(), rel=1e-6)


@pytest.mark.parametrize(
    ("length", "factor"),
    [("none", [1] * 8), ("sequence", [1 / 5, 1, 1 / 3, 1 / 2, 1 / 5, 1 / 4, 1 / 3, 1]),
     ("tokens", [8 / 24] * 8), (5.0, [1 / 5] * 8)],
)  # fmt: skip
def test_length_normalisation_scales_each_score(model, tokens, length, factor):
    plain = autograd.rollout_scores(model, tokens)
    scaled = autograd.rollout_scores(model, tokens, length=length)
    expected = plain * torch.tensor(factor, dtype=torch.float64)[:, None]
    assert torch.allclose(scaled, expected, rtol=1e-12)


@pytest.mark.parametrize("length", ["none", "sequence", "tokens", 5.0])
@pytest.mark.parametrize("k", range(9))
def test_identity_holds_for_every_count(model, tokens, length, k):
    rewards = np.array([1.0] * k + [0.0] * (8 - k))
    groups = RewardGroups.from_dense([rewards], correct=0.5)
    scores = autograd.rollout_scores(model, tokens, length=length)
    sigma = np.sqrt(k * (8 - k)) / 8
    difference = (
        scores[:k].mean(dim=0) - scores[k:].mean(dim=0)
        if 0 < k < 8
        else torch.zeros_like(scores[0])
    )
    for name, coefficient in [("grpo", sigma), ("dr_grpo", sigma**2), ("rloo", 8 / 7 * sigma**2)]:
        a = advantages.get(name)(groups)
        update = autograd.policy_update(model, tokens, a, length=length)
        assert torch.allclose(update, coefficient * difference, rtol=1e-9, atol=1e-12)
        norm = anatomy.update_norm_squared(autograd.score_gram(scores), groups, a)
        assert norm == pytest.approx([float(update @ update)], abs=1e-12)


def test_identity_holds_for_a_real_valued_reward(model, tokens):
    rewards = np.array([0.3, 1.7, -0.4, 0.0, 2.5, 0.9, 0.3, -1.1])
    groups = RewardGroups.from_dense([rewards])
    scores = autograd.rollout_scores(model, tokens)
    design = np.stack([np.ones(8), rewards], axis=1)
    slope = np.linalg.lstsq(design, scores.numpy(), rcond=None)[0][1]
    for name, coefficient in [("grpo", rewards.std()), ("dr_grpo", rewards.var())]:
        update = autograd.policy_update(model, tokens, advantages.get(name)(groups))
        assert update.numpy() == pytest.approx(coefficient * slope, rel=1e-9, abs=1e-12)


def test_a_subset_of_parameters(model, tokens):
    whole = autograd.rollout_scores(model, tokens)
    head = autograd.rollout_scores(model, tokens, select=lambda name: name.startswith("lm_head"))
    assert torch.equal(head, whole[:, -head.shape[1] :])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_bad_input_is_one_line(model, tokens):
    calls = [
        lambda: autograd.RolloutTokens.from_trl({"prompt_ids": tokens.prompt_ids}),
        lambda: autograd.RolloutTokens.from_trl(
            {**tokens._asdict(), "tool_mask": torch.zeros_like(tokens.completion_mask)}
        ),
        lambda: autograd.length_weights(tokens.completion_mask, "words"),
        lambda: autograd.length_weights(tokens.completion_mask, 0.0),
        lambda: autograd.policy_update(model, tokens, np.zeros(3)),
        lambda: autograd.rollout_scores(model, tokens, select=lambda name: False),
        lambda: autograd.rollout_scores(model, tokens._replace(prompt_mask=tokens.prompt_ids[:2])),
        lambda: autograd.completion_log_likelihoods(
            model, tokens._replace(prompt_ids=tokens.prompt_ids[:, :0],
                                   prompt_mask=tokens.prompt_mask[:, :0])
        ),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(InputError) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_trl_inputs_are_recognised(tokens):
    # A tool mask says nothing about padding: TRL fills it with 1, another trainer with 0.
    for tool_mask in (torch.ones_like(tokens.completion_mask), tokens.completion_mask):
        inputs = {**tokens._asdict(), "tool_mask": tool_mask, "advantages": 1}
        assert autograd.RolloutTokens.from_trl(inputs) == tokens


def test_an_adapter_and_a_model_without_positions(model, llama, tokens):
    class Adapter(torch.nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base = base

        def get_base_model(self):
            return self.base

        def forward(self, **inputs):
            return self.base(**inputs)

    class Plain(torch.nn.Module):
        def __init__(self, base):
            super().__init__()
            self.base = base

        def forward(self, input_ids, attention_mask):
            return self.base(input_ids=input_ids, attention_mask=attention_mask)

    for wrapped, base in [(Adapter(model), model), (Plain(llama), llama)]:
        expected = autograd.completion_log_likelihoods(base, tokens)
        got = autograd.completion_log_likelihoods(wrapped, tokens)
        assert torch.allclose(got, expected, atol=1e-5)
