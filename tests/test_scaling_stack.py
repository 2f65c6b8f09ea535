"""kexue.scaling.stack against a loop over torch.nn networks, as the public code trains them."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from kexue.scaling import Batch, SparseParity, StackRun, train_stack
from kexue.scaling._fused import Fused, usable
from kexue.scaling._wide import Wide
from kexue.scaling.stack import _Draw, _points, _Recorded, _stepper, _test_losses

F64 = torch.float64
CPU = torch.device("cpu")
TASK = SparseParity(7, n_bits=10, k=2, alpha=0.4, seed=1)
WIDTHS, SEEDS = [5, 12, 12], [0, 0, 1]


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def stack(pad=1, dtype=F64, device=CPU):
    return Wide(TASK.n_bits, TASK.n_tasks, WIDTHS, SEEDS, device, dtype, pad)


def plain(wide: Wide, m: int) -> nn.Module:
    """Network m of the stack as a classifier of two logits; the first is any function."""
    mine = slice(wide.columns[m].start, wide.columns[m].start + WIDTHS[m])
    net = nn.Sequential(nn.Linear(17, WIDTHS[m]), nn.ReLU(), nn.Linear(WIDTHS[m], 2)).to(F64)
    with torch.no_grad():
        bits, bias, tasks = wide.first[:, mine].split([10, 1, 7])
        net[0].weight.copy_(torch.cat([bits, tasks]).T)
        net[0].bias.copy_(bias[0])
        net[2].weight[1] = net[2].weight[0] + wide.head[mine]
        net[2].bias[1] = net[2].bias[0] + wide.offset[m]
    return net


def inputs(tasks, bits):
    return torch.cat([bits, nn.functional.one_hot(tasks, TASK.n_tasks)], -1).to(F64)


def batches(many, size, groups=()):
    generator = dice(5)
    for _ in range(many):
        drawn = [TASK.sample(size, generator, ordered=True) for _ in range(math.prod(groups))]
        stacked = (torch.stack(x) for x in zip(*drawn, strict=True))
        yield Batch(*stacked) if groups else drawn[0]


@pytest.mark.parametrize("groups", [(), (3,)], ids=["shared batch", "own batches"])
@pytest.mark.parametrize("pad", [1, 8])
def test_200_steps_equal_those_of_torch_networks(groups, pad, monkeypatch):
    monkeypatch.setattr(Wide, "slice_numbers", lambda self: 1500)  # several slices of a batch
    wide = stack(pad)
    wide.groups = wide.group(17)
    assert len(wide.groups) > 1
    nets = [plain(wide, m) for m in range(3)]
    optimizers = [torch.optim.AdamW(net.parameters(), 3e-3, weight_decay=0.0) for net in nets]
    drawn = list(batches(200, 64, groups))
    supply = iter(drawn)
    step = _stepper(wide, lambda: next(supply), 3e-3)
    for number, batch in enumerate(drawn):
        step()
        for m, (net, optimizer) in enumerate(zip(nets, optimizers, strict=True)):
            tasks, bits, labels = (x[m] for x in batch) if groups else batch
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(inputs(tasks, bits)), labels.long()).backward()
            optimizer.step()
        if number == 0:
            first = wide.first.clone()
    tasks, bits, _ = TASK.sample(500, dice(9))
    d = wide.logits(tasks, bits)
    for m, net in enumerate(nets):
        two = net(inputs(tasks, bits))
        torch.testing.assert_close(d[:, m], two[:, 1] - two[:, 0], rtol=1e-9, atol=1e-10)
        again = plain(wide, m)
        torch.testing.assert_close(again[0].weight, net[0].weight, rtol=1e-9, atol=1e-10)
    assert (wide.first - first).abs().max() > 0.1  # that they went anywhere
    used = torch.zeros(wide.first.shape[1], dtype=torch.bool)
    for mine, width in zip(wide.columns, WIDTHS, strict=True):
        used[mine.start : mine.start + width] = True
    assert not wide.first[:, ~used].any() and not wide.head[~used].any()  # padding stays nothing


def test_two_heads_at_the_same_step_size_would_differ():
    """The test above can fail: with one step size for all, paths part."""
    wide, wrong = stack(), stack()
    drawn = list(batches(20, 64))
    supply = iter(drawn)
    step = _stepper(wide, lambda: next(supply), 3e-3)
    optimizer = torch.optim.Adam(wrong.parameters, 3e-3)
    for batch in drawn:
        step()
        wrong.gradients(*batch)
        optimizer.step()
    assert (wide.head - wrong.head).abs().max() > 1e-2


def test_initialization_is_that_of_torch():
    wide = Wide(60, 40, [400], [0], CPU, F64)
    bound = 1 / math.sqrt(100)
    assert 0.99 * bound < wide.first.max() < bound and -bound < wide.first.min() < -0.99 * bound
    assert abs(wide.first.var().item() / (bound**2 / 3) - 1) < 0.03
    # A difference of two uniform numbers: variance twice that of one.
    assert abs(wide.head.var().item() / (2 / 3 / 400) - 1) < 0.2
    assert wide.head.abs().max() < 2 / math.sqrt(400)
    other = Wide(60, 40, [30, 400], [1, 0], CPU, F64)
    assert torch.equal(other.first[:, 30:], wide.first)  # whatever stands beside it
    assert not torch.equal(other.first[:, :30], wide.first[:, :30])


def test_losses_are_cross_entropies_in_bits():
    wide = stack()
    tasks = torch.arange(7).repeat_interleave(3)
    bits = torch.randint(0, 2, (21, 10), dtype=torch.uint8, generator=dice())
    test = Batch(tasks, bits, TASK.labels(tasks, bits))
    found = _test_losses(wide, test, 3)
    for m in range(3):
        two = plain(wide, m)(inputs(tasks, bits)).detach()
        for t in range(7):
            rows = slice(3 * t, 3 * t + 3)
            nats = nn.functional.cross_entropy(two[rows], test.labels[rows].long())
            torch.testing.assert_close(found[m, t], nats / math.log(2))


RUN = {"steps": 60, "batch": 100, "lr": 5e-3, "test_per_task": 50, "device": "cpu"}


def test_a_network_does_not_notice_the_others():
    many = train_stack(TASK, [4, 9], seeds=[0, 3], evaluate=[0, 10, 60], **RUN)
    assert list(zip(many.widths.tolist(), many.seeds.tolist(), strict=True)) == list(
        itertools.product([4, 9], [0, 3])
    )
    for m in range(4):
        one = train_stack(
            TASK, [many.widths[m]], seeds=[many.seeds[m]], evaluate=[0, 10, 60], **RUN
        )
        torch.testing.assert_close(one.losses[:, 0], many.losses[:, m], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(many.losses[:, 2], many.losses[:, 3], atol=1e-2)
    other = train_stack(TASK, [4], stream=1, evaluate=[60], **RUN)
    assert not torch.allclose(other.losses[-1, 0], many.losses[-1, 0], atol=1e-3)


def test_frequent_subtasks_are_learned_and_a_wide_network_learns_more():
    run = train_stack(TASK, [2, 40], steps=1200, batch=500, lr=1e-2, test_per_task=200)
    start, end = run.losses[0], run.losses[-1]
    assert (start - 1).abs().max() < 0.3  # a fair coin
    assert end[1, 0] < 0.05 and end[1].mean() < end[0].mean() - 0.2
    p = np.array([k**-1.4 for k in range(1, 8)])
    expected = (run.losses.numpy() * p).sum(-1) / p.sum()
    np.testing.assert_allclose(run.mean_losses, expected, rtol=1e-5)


def test_parameters_as_the_public_code_counts():
    run = train_stack(TASK, WIDTHS[:2], evaluate=[0], **RUN)
    nets = (nn.Sequential(nn.Linear(17, w), nn.Linear(w, 2)) for w in WIDTHS[:2])
    assert run.parameters.tolist() == [sum(p.numel() for p in net.parameters()) for net in nets]


def test_a_small_data_set_is_learned_by_heart():
    run = train_stack(TASK, [30], sizes=[60, 5000], **RUN | {"steps": 800, "evaluate": [800]})
    assert run.sizes.tolist() == [60, 5000]
    small, large = run.mean_losses[-1]
    assert large < 0.7 and small > 1.2  # sure of wrong answers


def test_draws_come_from_nested_sets_evenly():
    draw = _Draw(TASK, [50, 200, 50], 2000, dice())
    names = {}  # of samples, by their first place
    pool = zip(draw.data.tasks.tolist(), draw.data.bits.tolist(), strict=True)
    for i, (t, x) in enumerate(pool):
        names.setdefault((t, *x), i)
    tasks, bits, labels = draw()
    assert (tasks.diff() >= 0).all()
    assert torch.equal(labels, TASK.labels(tasks, bits))
    for m, size in enumerate([50, 200, 50]):
        drawn = [names[(t, *x)] for t, x in zip(tasks[m].tolist(), bits[m].tolist(), strict=True)]
        assert max(drawn) < size
        assert set(drawn) == {i for i in names.values() if i < size}
    assert not torch.equal(bits[0], bits[2])


def test_points_are_evenly_spaced_in_log_step():
    assert _points(4, 1000) == [1, 10, 100, 1000]
    assert _points(1, 10) == [10]
    assert _points(50, 8) == list(range(1, 9))
    assert _points([0, 5], 8) == [0, 5]


def test_a_run_survives_a_file(tmp_path):
    run = train_stack(TASK, [4], evaluate=3, **RUN)
    run.to_npz(tmp_path / "run.npz")
    again = StackRun.from_npz(tmp_path / "run.npz")
    assert again.seconds == run.seconds and again != run  # tensors have no one truth value
    for name in ("widths", "seeds", "sizes", "steps", "losses", "frequencies", "parameters"):
        assert torch.equal(getattr(again, name), getattr(run, name))
    assert torch.equal(again.mean_losses, run.mean_losses)


def gpu(test):
    return pytest.mark.gpu(
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")(test)
    )


@gpu
@pytest.mark.parametrize("groups", [(), (3,)], ids=["shared batch", "own batches"])
def test_a_gpu_computes_the_same_gradients(groups):
    batch = next(batches(1, 3000, groups))
    here, there = stack(), stack(device=torch.device("cuda"))
    here.gradients(*batch)
    there.gradients(*(x.cuda() for x in batch))
    for a, b in zip(here.parameters, there.parameters, strict=True):
        torch.testing.assert_close(b.grad.cpu(), a.grad)


@gpu
@pytest.mark.parametrize("groups", [(), (3,)], ids=["shared batch", "own batches"])
@pytest.mark.parametrize("task", [TASK, SparseParity(300, n_bits=40, alpha=0.1)], ids=str)
def test_kernels_add_up_what_the_plain_sums_do(groups, task, monkeypatch):
    monkeypatch.setitem(globals(), "TASK", task)
    if not usable(torch.device("cuda"), task.n_bits):
        pytest.skip("needs Triton and an Ampere GPU")
    about = (task.n_bits, task.n_tasks, [5, 70, 12], SEEDS, torch.device("cuda"))
    shared = not groups  # then a pair of tiles may belong to two networks
    plain, fused = Wide(*about, F64, 32 if shared else 64, 64), Fused(*about, 1e-2, shared=shared)
    assert (fused.owner[::64] != fused.owner[32::64]).any() == shared
    optimizers = [torch.optim.Adam([x], 1e-2) for x in plain.parameters]
    for number, batch in enumerate(batches(3, 3000, groups)):
        batch = [x.cuda() for x in batch]
        plain.gradients(*batch)
        fused.gradients(*batch)
        for name in ("head", "offset"):
            a, b = getattr(plain, name), getattr(fused, name)
            # From the second step on the weights differ: where a gradient is nearly 0, by its sign.
            bound = 2e-2 if number else 1e-3
            assert (a.grad - b.grad).norm() < bound * a.grad.norm()
            b.copy_(a)
        if number == 0:  # Adam's first step is the sign of the gradient
            wanted = plain.first.grad.sign() * 1e-2
            clear = plain.first.grad.abs() > 1e-2 * plain.first.grad.abs().max()
            moved = plain.first - fused.first
            torch.testing.assert_close(moved[clear], wanted[clear], rtol=1e-3, atol=0)
        optimizers[0].step()
        assert (plain.first - fused.first).abs().mean() < 1e-4
        torch.testing.assert_close(fused.W[: len(fused.first)].double(), fused.first.double(),
                                   rtol=1e-3, atol=1e-6)  # fmt: skip
        assert not fused.S.any()


@gpu
def test_a_recorded_step_draws_and_learns_as_the_step_itself():
    moved = []
    for recorded in (False, True):
        generator = torch.Generator("cuda").manual_seed(0)
        wide = stack(device=torch.device("cuda"))
        step = _stepper(wide, lambda g=generator: TASK.sample(500, g, ordered=True), 1e-2)
        step = _Recorded(step, generator) if recorded else step
        for _ in range(20):
            step()
        moved.append(wide.first)
    torch.testing.assert_close(*moved)


@gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_gpus_in_one_process_compute_the_same():
    how = {"steps": 400, "batch": 1000, "lr": 5e-3, "precision": F64}
    first, second = (train_stack(TASK, [8, 40], device=f"cuda:{k}", **how) for k in (0, 1))
    torch.testing.assert_close(first.losses, second.losses)
    assert torch.cuda.current_device() == 0


@gpu
@pytest.mark.parametrize("sizes", [None, [300, 20_000]])
def test_a_gpu_learns_as_well_in_half_precision(sizes):
    if not usable(torch.device("cuda"), 10):
        pytest.skip("needs Triton and an Ampere GPU")
    how = {"seeds": range(8), "sizes": sizes, "steps": 600, "batch": 1000, "lr": 5e-3}
    half, single = (
        train_stack(TASK, [40], device="cuda", precision=p, **how)
        for p in (torch.float16, torch.float32)
    )
    # The same batches, so the same first steps; later, paths part as any two do.
    torch.testing.assert_close(half.losses[:10], single.losses[:10], rtol=0, atol=0.02)
    a, b = (run.mean_losses[-1].unflatten(0, (8, -1)) for run in (half, single))
    error = ((a.var(0) + b.var(0)) / 8).sqrt()
    assert ((a.mean(0) - b.mean(0)).abs() < 4 * error + 0.01).all()


@pytest.mark.parametrize(
    "change, error, argument",
    [
        ({"task": 3}, TypeError, "task"),
        ({"widths": []}, ValueError, "widths"),
        ({"widths": 5}, TypeError, "widths"),
        ({"sizes": 100}, TypeError, "sizes"),
        ({"widths": [0]}, ValueError, "widths"),
        ({"seeds": [-1]}, ValueError, "seeds"),
        ({"sizes": [0]}, ValueError, "sizes"),
        ({"steps": 0}, ValueError, "steps"),
        ({"batch": 0}, ValueError, "batch"),
        ({"lr": -1.0}, ValueError, "lr"),
        ({"stream": -1}, ValueError, "stream"),
        ({"evaluate": [3, 3]}, ValueError, "evaluate"),
        ({"evaluate": [99]}, ValueError, "evaluate"),
        ({"test_per_task": 0}, ValueError, "test_per_task"),
        ({"precision": torch.float16}, ValueError, "precision"),
    ],
)
def test_bad_input_is_named(change, error, argument):
    with pytest.raises(error, match=f"^{argument}: got"):
        train_stack(**{"task": TASK, "widths": [4], **RUN} | change)
