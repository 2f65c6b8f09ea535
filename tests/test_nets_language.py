"""The language model: what it may see, what RoPE promises, what can replace its attention."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from kexue import nets
from kexue.nets.language import _rotate


def small(seed: int = 0, **options) -> nets.LanguageModel:
    torch.manual_seed(seed)
    sizes = {"width": 16, "heads": 2, "depth": 2, "context": 8, "vocab": 11}
    return nets.LanguageModel(**(sizes | options)).requires_grad_(False)


def tokens(*shape: int, vocab: int = 11, seed: int = 0) -> torch.Tensor:
    return torch.randint(vocab, shape, generator=torch.Generator().manual_seed(seed))


def written_out(q, k, v, layer):
    """Causal softmax attention, key by key."""
    o = torch.empty_like(v)
    for t in range(q.shape[2]):
        s = (q[:, :, t : t + 1] * k[:, :, : t + 1]).sum(-1) / math.sqrt(q.shape[-1])
        p = s.exp() / s.exp().sum(-1, keepdim=True)
        o[:, :, t] = (p[..., None] * v[:, :, : t + 1]).sum(2)
    return o


# ---- what it may see


@pytest.mark.parametrize("position", ["rope", "none"])
def test_the_future_does_not_change_the_past(position):
    """Bytes after t may be anything: the answers up to t stay the same, those after it do not."""
    model, x = small(position=position), tokens(3, 9)
    want = model(x)
    for t in range(9):
        other = x.clone()
        other[:, t] = (x[:, t] + 1) % 11
        got = model(other)
        torch.testing.assert_close(got[:, :t], want[:, :t], rtol=0, atol=1e-6)
        assert (got[:, t:] != want[:, t:]).any(-1).all()


def test_a_prefix_is_answered_as_the_whole_is():
    model, x = small(), tokens(2, 20)  # longer than its context, too
    torch.testing.assert_close(model(x)[:, :6], model(x[:, :6]), rtol=1e-5, atol=1e-5)


def test_without_positions_the_last_answer_forgets_the_order():
    """One block without RoPE sees a set: only RoPE tells a permutation of the past."""
    x = tokens(4, 8)
    shuffled = torch.cat([x[:, :7].flip(1), x[:, 7:]], 1)
    change = {
        p: (m(x)[:, -1] - m(shuffled)[:, -1]).abs().max()
        for p in ("rope", "none")
        for m in [small(position=p, depth=1)]
    }
    assert change["none"] < 1e-5 < 1e-2 < change["rope"]


# ---- RoPE


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 20))
def test_products_of_rotated_vectors_depend_on_the_difference_alone(t, s, shift):
    generator = torch.Generator().manual_seed(0)
    q, k = (torch.randn(8, generator=generator, dtype=torch.float64) for _ in "qk")
    q, k = (_rotate(a.expand(1, 1, 61, 8))[0, 0] for a in (q, k))
    torch.testing.assert_close(q[t + shift] @ k[s + shift], q[t] @ k[s], rtol=1e-5, atol=1e-5)


def test_rotation_turns_each_pair_by_its_own_angle():
    """Pair j of dimension D at position t: the number x_j + i x_{j+D/2} times e^{i t w_j}."""
    x = torch.randn(2, 3, 7, 6)
    z = torch.complex(x[..., :3], x[..., 3:])
    for t in range(7):
        for j in range(3):
            w = 10000 ** (-2 * j / 6)
            want = z[:, :, t, j] * complex(math.cos(t * w), math.sin(t * w))
            got = _rotate(x)[:, :, t]
            torch.testing.assert_close(got[..., j], want.real, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(got[..., j + 3], want.imag, rtol=1e-4, atol=1e-5)


# ---- attention from outside


def test_attention_put_in_from_outside_takes_the_place_of_its_own():
    model, x, seen = small(), tokens(3, 9), []

    def spy(q, k, v, layer):
        seen.append((layer, *(a.shape for a in (q, k, v))))
        return written_out(q, k, v, layer)

    torch.testing.assert_close(model(x, spy), model(x), rtol=1e-4, atol=1e-5)
    assert seen == [(i, *[(3, 2, 9, 8)] * 3) for i in range(2)]
    silent = model(x, lambda q, k, v, layer: torch.zeros_like(v))
    other = x.clone()
    other[:, 0] = (x[:, 0] + 1) % 11
    blind = model(other, lambda q, k, v, layer: torch.zeros_like(v))
    assert torch.equal(silent[:, 1:], blind[:, 1:])  # nothing else passes from byte to byte


def test_parameter_counts_are_those_stated():
    for w, h, L, V, p in [
        (64, 4, 2, 256, "rope"),
        (384, 6, 6, 256, "none"),
        (16, 2, 3, 11, "rope"),
    ]:
        model = nets.LanguageModel(w, h, L, vocab=V, position=p)
        assert (
            sum(a.numel() for a in model.parameters())
            == 2 * V * w + L * (12 * w * w + 9 * w) + 2 * w
        )
    assert sum(a.numel() for a in nets.LanguageModel().parameters()) == 132_352


def test_a_fresh_model_has_queries_and_keys_of_unit_variance():
    """LayerNorm's output has unit variance, the weights 1 / width: logits of variance 1."""
    logits, variances = [], []

    def spy(q, k, v, layer):
        variances.extend(a.var().item() for a in (q, k, v))
        logits.append((q @ k.mT / math.sqrt(q.shape[-1])).flatten())
        return written_out(q, k, v, layer)

    small(width=128, heads=2, vocab=200)(tokens(16, 16, vocab=200), spy)
    assert min(variances) > 0.85 and max(variances) < 1.15
    assert 0.7 < torch.cat(logits).var() < 1.4


# ---- loss and training


def test_loss_is_the_surprise_at_each_next_byte():
    model, x = small(), tokens(3, 9)
    loss = nets.language_loss(model, x)
    assert loss.shape == (3, 8)
    p = model(x[:, :-1]).double().softmax(-1)
    for b in range(3):
        for t in range(8):
            assert loss[b, t].item() == pytest.approx(-math.log(p[b, t, x[b, t + 1]]), rel=1e-5)
    uniform = nets.language_loss(lambda x, attend: torch.zeros(*x.shape, 11), x)
    torch.testing.assert_close(uniform, torch.full((3, 8), math.log(11)))


def learned(seed: int = 0, **options):
    model = small().requires_grad_(True)
    text = torch.tensor([0, 1, 0, 2, 0, 3] * 30)
    run = nets.train_language(
        model, text, **({"steps": 60, "batch": 16, "lr": 1e-2} | options), seed=seed
    )
    return model, text, [loss.item() for _, loss in run]


def test_it_learns_a_period_that_needs_attention():
    """After a 0 stands 1, 2 or 3: who sees the last byte only pays ln 3 half of the time."""
    model, text, losses = learned(steps=150)
    windows = text.unfold(0, 9, 1)
    with torch.no_grad():
        late = nets.language_loss(model, windows)[:, 3:].mean().item()
        blind = nets.language_loss(model, windows, lambda q, k, v, layer: 0 * v)[:, 3:].mean()
    assert late < 0.02 < 0.9 * math.log(3) / 2 < blind
    assert losses[0] > math.log(11) / 1.5 and not model.training


def test_training_is_a_function_of_its_seed():
    a, b, c = learned(steps=5), learned(steps=5), learned(1, steps=5)
    assert a[2] == b[2] and a[2] != c[2]
    for x, y in zip(a[0].parameters(), b[0].parameters(), strict=True):
        assert torch.equal(x, y)


def test_training_takes_the_attention_it_is_given_and_half_precision():
    plain = learned(steps=5)[2]
    same = learned(steps=5, attend=written_out)[2]
    half = learned(steps=5, precision=torch.bfloat16)[2]
    assert same == pytest.approx(plain, rel=1e-3)
    assert half == pytest.approx(plain, rel=0.05) and half != plain
    assert learned(steps=5, attend=lambda q, k, v, layer: v)[2] != pytest.approx(plain, rel=1e-3)


def test_windows_begin_anywhere_and_all_bytes_are_learned_from():
    """A model that only counts: batches of a text of distinct bytes hold all of its windows."""
    seen = []

    class Spy(nets.LanguageModel):
        def forward(self, tokens, attend=None):
            seen.append(tokens)
            return super().forward(tokens, attend)

    model = Spy(8, 1, 1, context=3, vocab=20)
    for _ in nets.train_language(model, torch.arange(20), steps=40, batch=8):
        pass
    starts = torch.cat(seen)
    assert torch.equal(starts - starts[:, :1], torch.arange(3).expand_as(starts))
    assert torch.equal(starts[:, 0].unique(), torch.arange(17))


@pytest.mark.parametrize("position", ["rope", "none"])
def test_a_stored_model_comes_back(position, tmp_path):
    model, x = small(position=position), tokens(2, 9)
    again = nets.load(nets.save(model, tmp_path / "weights.safetensors"))
    assert type(again) is nets.LanguageModel and again.config == model.config
    for a, b in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(a.half().float(), b)
    torch.testing.assert_close(again(x), model(x), rtol=0.05, atol=0.05)


# ---- bad input


TEXT = torch.arange(11)


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: small(heads=3), ValueError, "heads"),
        (lambda: small(heads=16), ValueError, "heads"),  # RoPE needs pairs
        (lambda: small(width=0), ValueError, "width"),
        (lambda: small(depth=1.5), TypeError, "depth"),
        (lambda: small(context=0), ValueError, "context"),
        (lambda: small(vocab=1), ValueError, "vocab"),
        (lambda: small(position="learned"), ValueError, "position"),
        (lambda: small()(torch.zeros(1, 3)), TypeError, "tokens"),
        (lambda: small()([[1, 2]]), TypeError, "tokens"),
        (lambda: small()(tokens(3)), ValueError, "tokens"),
        (lambda: small()(tokens(0, 3)), ValueError, "tokens"),
        (lambda: nets.language_loss(small(), tokens(2, 1)), ValueError, "tokens"),
        (lambda: nets.language_loss(small(), [[1, 2]]), ValueError, "tokens"),
        (lambda: nets.train_language(nn.Linear(1, 1), TEXT, steps=1), TypeError, "model"),
        (lambda: nets.train_language(small(), TEXT[:8], steps=1), ValueError, "text"),
        (lambda: nets.train_language(small(), TEXT.float(), steps=1), ValueError, "text"),
        (lambda: nets.train_language(small(), TEXT[None], steps=1), ValueError, "text"),
        (lambda: nets.train_language(small(), TEXT, steps=0), ValueError, "steps"),
        (lambda: nets.train_language(small(), TEXT, steps=1, batch=0), ValueError, "batch"),
        (lambda: nets.train_language(small(), TEXT, steps=1, lr=-1), ValueError, "lr"),
        (lambda: nets.train_language(small(), TEXT, steps=1, seed="a"), TypeError, "seed"),
        (
            lambda: nets.train_language(small(), TEXT, steps=1, precision=torch.int8),
            ValueError,
            "precision",
        ),
    ],
)
def test_bad_input_is_named(call, error, name):
    with pytest.raises(error, match=rf"^{name}: "):
        call()
