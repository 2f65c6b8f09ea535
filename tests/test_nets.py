"""The networks: what a fresh one says, what training does to it, what comes back from a file."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kexue import data, diffusion, nets, schedule
from kexue.nets._norm import GroupNorm

SU, COSINE = schedule.su(), schedule.cosine()


def small_unet(**options) -> nets.UNet:
    torch.manual_seed(0)
    return nets.UNet(1, **({"channels": (8, 16), "blocks": 1, "heads": 2} | options))


def stir(model: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights everywhere, so that no branch is silent."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return model


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


# ---- what a fresh network says


@pytest.mark.parametrize("make", [lambda **o: nets.MLP((1, 8, 8), 16, 1, **o), small_unet])
def test_a_fresh_network_is_the_best_linear_guess(make):
    """F = 0 at first: eps = 0 without a schedule, eps = sigma x_t with one.

    For white data of variance 1, sigma x_t is the least-squares estimate of eps, whose error is
    1 - sigma^2 = alpha^2 a coordinate; measured here over 2 * 10^5 numbers.
    """
    x, t = torch.randn(4, 1, 8, 8), torch.tensor([1, 10, 500, 1000])
    assert make()(x, t).abs().max() == 0
    model = make(schedule=COSINE)
    sigma = COSINE.sigma(t).float().view(4, 1, 1, 1)
    torch.testing.assert_close(model(x, t), sigma * x)
    generator = torch.Generator().manual_seed(1)
    x0, noise = (torch.randn(3000, 1, 8, 8, generator=generator) for _ in "ab")
    loss = diffusion.loss(model, x0, COSINE, t=400, noise=noise).item()
    assert loss == pytest.approx(COSINE.alpha_bar(400).item(), rel=0.02)
    assert loss < diffusion.loss(lambda x, t: 0.9 * model(x, t), x0, COSINE, 400, noise).item()
    assert loss < diffusion.loss(lambda x, t: 1.1 * model(x, t), x0, COSINE, 400, noise).item()


def test_the_skip_is_the_v_prediction():
    """eps = sigma x_t + alpha F says that F is v = alpha eps - sigma x0, whatever the weights."""
    bare, model = stir(small_unet()), stir(small_unet(schedule=COSINE))
    x_t, t = torch.randn(3, 1, 8, 8), torch.tensor([3, 400, 990])
    eps, v = model(x_t, t), bare(x_t, t)
    for i in range(3):
        alpha, sigma = COSINE(t[i])
        want = diffusion.convert(eps[i], x_t[i], alpha, sigma, source="eps", target="v")
        torch.testing.assert_close(v[i], want, atol=1e-4, rtol=1e-4)


def test_parameter_counts_are_those_stated():
    """The formula in the docstring of MLP, and the numbers that the chapter quotes."""
    for D, w, L, h, k in [(64, 192, 3, 384, 64), (2, 16, 2, 24, 8)]:
        model = nets.MLP((D,), width=w, depth=L, hidden=h, time=k)
        want = D * w + w + L * (2 * w + 2 * w * h + h + w + k * h) + 2 * w + w * D + D
        assert count(model) == want
    assert count(nets.MLP((1, 8, 8), width=192, depth=3)) == 544_192
    assert count(nets.UNet(1, (40, 80, 120), join="add")) == 2_705_113
    assert count(nets.UNet(1, (40, 80, 120))) == 3_199_353


# ---- symmetries and dependencies that the architecture promises


@pytest.mark.parametrize(
    "model",
    [small_unet(), small_unet(join="add"), small_unet(patch=2), nets.MLP((1, 8, 8), 16, 2)],
)
def test_samples_of_a_batch_do_not_meet(model):
    """Each sample's answer depends on itself and its own time alone, and on both."""
    stir(model).eval()
    x, t = torch.randn(3, 1, 8, 8), torch.tensor([5, 300, 900])
    together = model(x, t)
    assert together.shape == x.shape
    for i in range(3):
        torch.testing.assert_close(together[i : i + 1], model(x[i : i + 1], t[i : i + 1]))
    torch.testing.assert_close(model(x, 300)[1], together[1])
    assert (model(x, 301)[1] - together[1]).abs().max() > 1e-5


def test_every_pixel_sees_every_pixel():
    """Through attention at the coarsest level, the two corners of an image know each other."""
    model = stir(small_unet()).eval()
    x = torch.randn(1, 1, 32, 32, requires_grad=True)
    model(x, 500)[0, 0, 0, 0].backward()
    assert (x.grad != 0).all()


def test_every_weight_is_used():
    for model in (small_unet(), small_unet(join="add"), nets.MLP((1, 8, 8), 8, 2)):
        stir(model)(torch.randn(2, 1, 8, 8), 500).square().sum().backward()
        unused = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
        # The bias of attention's keys moves all scores alike, and softmax does not see it.
        assert unused == []


def test_the_unet_is_one_function_in_any_memory_layout_and_nearly_so_in_half_precision():
    model = stir(small_unet(schedule=COSINE)).eval()
    x, t = torch.randn(2, 1, 16, 16), torch.tensor([10, 700])
    want = model(x, t)
    last = model.to(memory_format=torch.channels_last)(x.to(memory_format=torch.channels_last), t)
    torch.testing.assert_close(last, want, atol=1e-5, rtol=1e-4)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(x, t)
    error = ((half.float() - want).norm() / want.norm()).item()
    assert 0 < error < 0.03  # and not zero: it did run in bfloat16


def normalized(x, norm, moves):
    """The formula of GroupNorm, in float64: groups of eight channels, scale, shift, SiLU."""
    groups = x.double().unflatten(1, (-1, 8))
    mean = groups.mean((2, 3, 4), keepdim=True)
    spread = (groups.square().mean((2, 3, 4), keepdim=True) - mean**2 + norm.eps).sqrt()
    scale, shift = moves.double()[:, :, None, None].chunk(2, dim=1)
    z = ((groups - mean) / spread).flatten(1, 2) * norm.weight[:, None, None].double()
    z = (z + norm.bias[:, None, None]) * (1 + scale) + shift
    return z / (1 + (-z).exp())


def norm_of(channels: int, size: int):
    """A norm with weights, images and what scales and shifts them."""
    generator, norm = torch.Generator().manual_seed(channels), GroupNorm(channels)
    x = 2 * torch.randn(3, channels, size, size, generator=generator) + 1
    return stir(norm), x, torch.randn(3, 2 * channels, generator=generator)


@pytest.mark.parametrize("channels", [8, 40])
def test_group_norm_is_its_formula(channels):
    norm, x, moves = norm_of(channels, 4)
    torch.testing.assert_close(norm(x, moves, silu=True).double(), normalized(x, norm, moves))
    plain = norm(x)
    torch.testing.assert_close(norm(x, 0 * moves), plain)
    torch.testing.assert_close(norm(x, silu=True), plain * plain.sigmoid())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="the kernels need a CUDA device")
@pytest.mark.parametrize(("channels", "size"), [(16, 8), (64, 16), (40, 32), (120, 4)])
def test_the_kernels_of_group_norm_are_its_formula(channels, size):
    """Values and all gradients, from images in bfloat16, which has 8 bits."""
    norm, x, moves = (thing.cuda() for thing in norm_of(channels, size))
    dy, gradients = torch.randn_like(x).bfloat16(), []
    for half in (False, True):
        given = [v.bfloat16() if half else v.bfloat16().double() for v in (x, moves)]
        given[0] = given[0].contiguous(memory_format=torch.channels_last)
        given = [v.requires_grad_() for v in given]
        y = norm(*given, silu=True) if half else normalized(given[0], norm, given[1])
        over = (*given, norm.weight, norm.bias)
        gradients.append([y, *torch.autograd.grad(y, over, dy.to(y.dtype))])
    assert type(gradients[1][0].grad_fn).__name__ == "FusedBackward"
    for exact, fused in zip(*gradients, strict=True):
        assert (fused.double() - exact).norm() < 1e-2 * exact.norm()


def test_time_embedding_is_the_sinusoid_of_its_formula():
    e = nets.TimeEmbedding(8, T=1000)(torch.tensor([0, 250]))
    omega = [1000 ** (k / 3) for k in range(4)]
    want = [math.cos(w * 0.25) for w in omega] + [math.sin(w * 0.25) for w in omega]
    torch.testing.assert_close(e[1], torch.tensor(want), atol=1e-4, rtol=0)
    assert e[0].tolist() == [1.0] * 4 + [0.0] * 4


# ---- average and training


def test_ema_follows_its_recursion():
    model = nn.Linear(1, 1, bias=False)
    ema, average = nets.EMA(model, decay=0.5), model.weight.item()
    for k, value in enumerate([2.0, -1.0, 4.0, 3.0, 3.0, 0.0, 1.0, 5.0, 2.0, 2.0, 7.0, 1.0], 1):
        with torch.no_grad():
            model.weight.fill_(value)
        ema.update()
        d = min(0.5, k / (k + 9))
        average = d * average + (1 - d) * value
        assert ema.model.weight.item() == pytest.approx(average, rel=1e-6)
    assert model.weight.item() == 1.0 and not ema.model.weight.requires_grad


def trained(seed: int = 0, threads: int = 1, steps: int = 60, width: int = 32):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.manual_seed(0)
        model = nets.MLP((1, 8, 8), width=width, depth=1)
        ema, x = nets.EMA(model, 0.9), data.load("digits", "train").x
        run = nets.train(model, x, SU, steps=steps, batch=64, lr=4e-3, ema=ema, seed=seed)
        losses = [loss.item() for _, loss in run]
    finally:
        torch.set_num_threads(before)
    return model, ema, losses


def test_training_learns_what_no_time_free_guess_can():
    """Against the best constant multiple of x_t at each t, the best linear guess of its kind."""
    model, ema, losses = trained(steps=500, width=96)
    test = data.load("digits", "test").x
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(test.shape, generator=generator)
    t = torch.randint(1, 1001, (len(test),), generator=generator)
    power = test.square().mean()

    def linear(x_t, t):
        alpha, sigma = SU(t)
        return (sigma / (alpha**2 * power + sigma**2)).float().view(-1, 1, 1, 1) * x_t

    got = diffusion.loss(ema.model, test, SU, t, noise).item()
    assert got < 0.75 * diffusion.loss(linear, test, SU, t, noise).item()
    assert sum(losses[-20:]) < 0.4 * sum(losses[:20])
    assert not model.training


def test_training_is_a_function_of_its_seed():
    a, b, c = trained(), trained(), trained(seed=1)
    assert a[2] == b[2] and a[2] != c[2]
    for x, y in zip(a[1].model.parameters(), b[1].model.parameters(), strict=True):
        assert torch.equal(x, y)


def test_training_with_two_threads_gives_nearly_the_same():
    one, two = trained(threads=1, steps=5)[2], trained(threads=2, steps=5)[2]
    assert max(abs(a - b) for a, b in zip(one, two, strict=True)) < 1e-3


def test_training_draws_one_time_in_each_part():
    """Of a batch, the k-th time falls in the k-th of equal parts of 1..T; all of 1..T occurs."""
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(()))

        def forward(self, x, t):
            seen.append(t.clone())
            return self.w * x

    s = schedule.su(40)
    for _ in nets.train(Spy(), torch.randn(5, 2), s, steps=200, batch=8):
        pass
    t = torch.stack(seen)
    part = torch.arange(8) * 5
    assert ((t > part) & (t <= part + 5)).all()
    assert torch.equal(t.unique(), torch.arange(1, 41))


def test_an_interrupted_training_starts_over_as_if_it_had_not_been():
    model, x = nets.MLP((2,), width=8, depth=1), torch.randn(20, 2)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    curves = []
    for stop in (2, 5):
        model.load_state_dict(weights)
        run = nets.train(model, x, SU, steps=5, batch=4)
        curves.append([loss.item() for _, (_, loss) in zip(range(stop), run, strict=False)])
        run.close()
        assert not model.training
    assert curves[1][:2] == curves[0] and len(curves[1]) == 5


def test_a_batch_that_does_not_fit_says_what_to_do():
    class Large(nn.Linear):
        def forward(self, x, t):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 40.00 GiB")

    run = nets.train(Large(2, 2), torch.randn(5, 2), SU, steps=3, batch=4)
    with pytest.raises(torch.cuda.OutOfMemoryError, match=r"smaller batch, .*PRESET=quick"):
        next(run)


@pytest.mark.parametrize("precision", [torch.bfloat16])
def test_training_in_half_precision_learns_as_well(precision):
    losses = {}
    x = data.load("digits", "train").x
    for p in (torch.float32, precision):
        torch.manual_seed(0)
        model = nets.MLP((1, 8, 8), width=32, depth=1)
        run = nets.train(model, x, SU, steps=60, batch=64, lr=4e-3, precision=p)
        losses[p] = [loss.item() for _, loss in run]
    late = {p: sum(v[-20:]) / 20 for p, v in losses.items()}
    assert losses[precision] != losses[torch.float32]
    assert late[precision] == pytest.approx(late[torch.float32], rel=0.03)


# ---- classifier and files


def test_classifier_learns_and_sets_its_unit():
    """The training features have total variance 100; shifted images are answered too."""
    train, test = data.load("digits", "train"), data.load("digits", "test")
    torch.manual_seed(0)
    model = nets.Classifier(8, 10, channels=(8, 16), features=16)
    for _ in nets.fit(model, train.x, train.y, steps=150, batch=64):
        pass
    with torch.no_grad():
        assert (model(test.x).argmax(1) == test.y).float().mean() > 0.8
        variance = model.features(train.x).var(0).sum().item()
        assert variance == pytest.approx(100, rel=1e-4)
        torch.testing.assert_close(model(test.x), model.head(model.body(test.x)))


def test_shift_moves_whole_images_and_fills_with_background():
    x = torch.full((400, 1, 5, 5), -1.0)
    x[:, 0, 2, 2] = torch.linspace(0, 1, 400)
    moved = nets.shift(x, torch.Generator().manual_seed(0), reach=2)
    flat = moved.flatten(1)
    torch.testing.assert_close(flat.max(1).values, x[:, 0, 2, 2])  # each keeps its own pixel
    assert ((flat > -1).sum(1) == 1).all()
    places = flat.argmax(1).bincount(minlength=25)
    assert (places > 0).all() and places.max() < 45  # all 25 places, about 16 times each


@pytest.mark.parametrize(
    "model",
    [
        nets.MLP((2,), width=8, depth=1),
        nets.MLP((1, 4, 4), width=8, depth=1, T=1),
        small_unet(schedule=COSINE, dropout=0.1),
        small_unet(join="add", patch=2),
        nets.Classifier(8, 3, channels=(4, 8), features=4),
    ],
)
def test_a_stored_network_comes_back(model, tmp_path):
    stir(model)
    again = nets.load(nets.save(model, tmp_path / "weights.safetensors"))
    assert type(again) is type(model) and again.config == model.config and not again.training
    for (name, a), (_, b) in zip(
        model.state_dict().items(), again.state_dict().items(), strict=True
    ):
        assert b.dtype == torch.float32 and torch.equal(a.half().float(), b), name
    if isinstance(model, nets.Denoiser):
        assert again.schedule == model.schedule and again.T == model.T


def test_replay_on_a_cpu_is_the_model_itself():
    model = small_unet()
    assert nets.replay(model, torch.zeros(2, 1, 8, 8)) is model


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to record on")
def test_recording_changes_nothing():
    model = stir(small_unet(schedule=COSINE)).cuda().eval()
    x, t = torch.randn(4, 1, 16, 16, device="cuda"), torch.tensor([1, 9, 500, 1000], device="cuda")
    fast = nets.replay(model, torch.zeros_like(x))
    for _ in range(2):
        x = torch.randn_like(x)
        torch.testing.assert_close(fast(x, t), model(x, t), atol=1e-4, rtol=1e-3)
    losses = []
    for graph in (False, True):
        torch.manual_seed(0)
        model = small_unet(schedule=COSINE).cuda()
        run = nets.train(model, x, COSINE, steps=20, batch=16, graph=graph)
        losses.append([loss.item() for _, loss in run])
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


# ---- bad input


@pytest.mark.parametrize(
    ("call", "error", "name"),
    [
        (lambda: nets.MLP((0,)), ValueError, "shape"),
        (lambda: nets.MLP((2,), time=7), ValueError, "dim"),
        (lambda: nets.MLP((2,), schedule="su"), TypeError, "schedule"),
        (lambda: nets.MLP((2,))(torch.zeros(3, 3), 1), ValueError, "x_t"),
        (lambda: nets.MLP((2,))(torch.zeros(0, 2), 1), ValueError, "x_t"),
        (lambda: nets.MLP((2,))(torch.zeros(3, 2, dtype=torch.long), 1), TypeError, "x_t"),
        (lambda: nets.MLP((2,))([[0.0, 0.0]], 1), TypeError, "x_t"),
        (lambda: nets.MLP((2,))(torch.zeros(3, 2), 1001), ValueError, "t"),
        (lambda: nets.MLP((2,))(torch.zeros(3, 2), -1), ValueError, "t"),
        (lambda: nets.MLP((2,))(torch.zeros(3, 2), float("nan")), ValueError, "t"),
        (lambda: nets.MLP((2,))(torch.zeros(3, 2), torch.ones(2)), ValueError, "t"),
        (lambda: nets.MLP((2,), schedule=SU)(torch.zeros(3, 2), 0.5), TypeError, "t"),
        (lambda: nets.UNet(1, channels=()), ValueError, "channels"),
        (lambda: nets.UNet(1, channels=(16,), heads=3), ValueError, "heads"),
        (lambda: nets.UNet(1, channels=(16,), join="sum"), ValueError, "join"),
        (lambda: nets.UNet(1, channels=(16,), dropout=1.5), ValueError, "dropout"),
        (lambda: small_unet()(torch.zeros(1, 1, 9, 8), 1), ValueError, "x_t"),
        (lambda: small_unet()(torch.zeros(1, 3, 8, 8), 1), ValueError, "x_t"),
        (lambda: small_unet()(torch.zeros(1, 8, 8), 1), ValueError, "x_t"),
        (lambda: nets.EMA("model"), TypeError, "model"),
        (lambda: nets.EMA(nn.Linear(1, 1), 1.0), ValueError, "decay"),
        (lambda: nets.Classifier(9), ValueError, "size"),
        (lambda: nets.Classifier(8, 1), ValueError, "classes"),
        (lambda: nets.Classifier(8).features(torch.zeros(1, 1, 4, 4)), ValueError, "x"),
        (lambda: nets.load("nowhere.safetensors"), FileNotFoundError, "path"),
        (lambda: nets.load(__file__), ValueError, "path"),
        (lambda: nets.save(nn.Linear(1, 1), "x"), ValueError, "model"),
    ],
)
def test_bad_input_is_named(call, error, name):
    with pytest.raises(error, match=rf"^{name}: "):
        call()


BAD = {
    "steps": 0,
    "batch": -3,
    "lr": -1.0,
    "weight_decay": float("nan"),
    "precision": torch.float64,
    "ema": "yes",
    "seed": "0",
    "graph": True,
}


@pytest.mark.parametrize("name", BAD)
def test_bad_training_arguments_are_named(name):
    model, options = nets.MLP((2,), width=4, depth=0), {"steps": 1, name: BAD[name]}
    with pytest.raises((ValueError, TypeError), match=f"^{name}: "):
        nets.train(model, torch.zeros(4, 2), SU, **options)  # at the call, before the first step


@pytest.mark.parametrize(
    ("x0", "s", "name"),
    [
        (torch.full((4, 2), torch.nan), SU, "x0"),
        (torch.zeros(0, 2), SU, "x0"),
        (torch.zeros(4, 2), schedule.Cosine(), "schedule"),
    ],
)
def test_bad_training_data_are_named(x0, s, name):
    with pytest.raises((ValueError, TypeError), match=f"^{name}: "):
        nets.train(nets.MLP((2,), width=4, depth=0), x0, s, steps=1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 20), max_size=5),
    st.one_of(st.integers(-5, 2000), st.floats(allow_nan=True), st.none(), st.text(max_size=2)),
)
def test_any_input_is_answered_or_refused(shape, t):
    """Whatever shape and time: an answer of that shape, or an error that names the argument."""
    model = nets.MLP((2,), width=4, depth=1)
    try:
        out = model(torch.zeros(shape), t)
    except (ValueError, TypeError) as error:
        assert str(error).startswith(("x_t: ", "t: "))
    else:
        assert out.shape == tuple(shape) and 0 <= t <= 1000
