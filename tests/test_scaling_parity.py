"""kexue.scaling.parity: the task's definition, its frequencies and its labels."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from kexue.scaling import SparseParity
from kexue.scaling.parity import ordered_uniform


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def test_subsets_are_distinct_sets_of_k_bits():
    task = SparseParity(500, alpha=0.4, seed=3)
    sets = [tuple(row) for row in task.subsets.tolist()]
    assert len(set(sets)) == 500
    assert all(len(set(s)) == 3 and 0 <= s[0] < s[1] < s[2] < 100 for s in sets)
    # Each bit is in a set with probability k / n: counts of bits are near 500 * 3 / 100.
    counts = np.bincount(np.ravel(sets), minlength=100)
    assert stats.chisquare(counts).pvalue > 1e-3
    assert not torch.equal(task.subsets, SparseParity(500, alpha=0.4, seed=4).subsets)
    assert torch.equal(task.subsets, SparseParity(500, alpha=1.0, seed=3).subsets)


def test_every_set_can_be_asked_for():
    sets = SparseParity(10, n_bits=5, k=2, alpha=0.4).subsets.tolist()
    assert sorted(map(tuple, sets)) == list(itertools.combinations(range(5), 2))


@pytest.mark.parametrize("ordered", [False, True])
def test_samples_follow_the_definition(ordered):
    task = SparseParity(12, n_bits=9, k=3, alpha=0.6, seed=1)
    tasks, bits, labels = task.sample(40_000, dice(), ordered=ordered)
    for t, x, y in zip(tasks[::500].tolist(), bits[::500].tolist(), labels[::500], strict=True):
        assert sum(x[i] for i in task.subsets[t].tolist()) % 2 == y
    p = np.array([k**-1.6 for k in range(1, 13)])
    counts = torch.bincount(tasks, minlength=12).numpy()
    assert stats.chisquare(counts, 40_000 * p / p.sum()).pvalue > 1e-3
    # n fair coins, independent of the task: every pattern is equally likely.
    patterns = (bits.long() << torch.arange(9)).sum(1)
    for chosen in (patterns, patterns[tasks > 0]):
        assert stats.chisquare(torch.bincount(chosen, minlength=512)).pvalue > 1e-3
    assert ordered == bool((tasks.diff() >= 0).all())


def test_one_bit_decides_a_label_and_only_those_of_its_set():
    task = SparseParity(30, n_bits=12, k=4, alpha=0.4)
    tasks, bits, labels = task.sample(200, dice())
    for i in range(12):
        changed = task.labels(tasks, bits ^ (torch.arange(12) == i))
        assert torch.equal(changed != labels, (task.subsets[tasks] == i).any(1))


def test_a_parity_of_more_than_256_bits():
    task = SparseParity(1, n_bits=300, k=300, alpha=1.0)
    bits = torch.ones(2, 300, dtype=torch.uint8)
    bits[1, 7] = 0
    assert task.labels(torch.tensor([0, 0]), bits).tolist() == [0, 1]


def test_ordered_uniform_numbers_are_order_statistics():
    u = ordered_uniform((4000, 5), torch.device("cpu"), dice())
    assert bool((u.diff() > 0).all()) and u.min() > 0 and u.max() < 1
    for i in range(5):  # the i-th smallest of five has a beta law
        assert stats.kstest(u[:, i], stats.beta(i + 1, 5 - i).cdf).pvalue > 1e-3
    mixed = u[torch.arange(4000), torch.randint(5, (4000,), generator=dice(1))]
    assert stats.kstest(mixed, "uniform").pvalue > 1e-3


def test_seeds_decide():
    task = SparseParity(20, n_bits=20, k=2, alpha=0.4)
    one, same, other = (task.sample(50, dice(s)) for s in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.bits, other.bits)


@pytest.mark.parametrize(
    "change, error, argument",
    [
        ({"n_tasks": 0}, ValueError, "n_tasks"),
        ({"n_tasks": math.comb(6, 2) + 1}, ValueError, "n_tasks"),
        ({"n_bits": 1.5}, TypeError, "n_bits"),
        ({"k": 7}, ValueError, "k"),
        ({"alpha": math.nan}, ValueError, "alpha"),
        ({"alpha": -1}, ValueError, "alpha"),
        ({"alpha": 10.5}, ValueError, "alpha"),
        ({"seed": -1}, ValueError, "seed"),
    ],
)
def test_bad_input_is_named(change, error, argument):
    good = {"n_tasks": 4, "n_bits": 6, "k": 2, "alpha": 0.4, "seed": 0}
    with pytest.raises(error, match=f"^{argument}: got"):
        SparseParity(**good | change)


def test_a_batch_needs_samples():
    with pytest.raises(ValueError, match=r"^batch: got 0"):
        SparseParity(4, n_bits=6, k=2, alpha=0.4).sample(0)
