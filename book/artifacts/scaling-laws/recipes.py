"""What is trained: the setting of Michaud et al. 2023 (arXiv:2303.13506), Figure 2 and its sweep.

Theirs: 500 tasks, 100 bits, parities of 3, one hidden layer of ReLUs, widths 10 to 500, Adam at
1e-3, batches of 20,000, 10^5 steps; data sets of 10^4 to 5 * 10^6 examples at width 500.
"""

from __future__ import annotations


def spaced(low: float, high: float, count: int) -> list[int]:
    """``count`` whole numbers from ``low`` to ``high`` in equal ratios, rounded down as theirs.

    >>> spaced(10, 500, 5)
    [10, 26, 70, 188, 500]
    """
    ratio = (high / low) ** (1 / (count - 1))
    return [int(low * ratio**i + 1e-6) for i in range(count)]


FULL = dict(
    order=(0.4, 0.1, 0.8, 0.2, 0.6, 0.3, 0.5, 0.7),
    main=0.4,  # the exponent of their figure: with several seeds, and what is calibrated on
    seeds=3,
    data_seeds=3,
    task=dict(n_tasks=500, n_bits=100, k=3),
    train=dict(batch=20_000, lr=1e-3, test_per_task=500),
    widths=dict(widths=spaced(10, 500, 20), steps=100_000, evaluations=64),
    # small sets are overfitted soon, large ones need as long as fresh examples do
    data=dict(
        widths=[500],
        sizes=spaced(1e4, 5e6, 12),
        steps=[15_000] * 7 + [40_000] * 2 + [100_000] * 3,
        evaluations=56,
    ),
    own=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),  # to which the law itself is fitted
    ablation=("0.2, K = 100", "0.2, K = 2000"),
)
SMOKE = dict(
    order=(0.4, 0.2),
    main=0.4,
    seeds=2,
    data_seeds=2,
    task=dict(n_tasks=20, n_bits=12, k=2),
    train=dict(batch=512, lr=1e-2, test_per_task=50),
    widths=dict(widths=spaced(4, 64, 5), steps=400, evaluations=20),
    data=dict(
        widths=[64], sizes=spaced(300, 20_000, 5), steps=[300] * 2 + [400] * 3, evaluations=20
    ),
    own=(0.4,),
    ablation=("0.2, K = 10", "0.2, K = 40"),
)

#: Their exponents at alpha = 0.1, 0.2, ..., 0.8: legends of the plots stored in the notebook
#: `scaling-exp-vs-zipf-exp` of the repository ejmichaud/quantization-model.
PAPER = dict(
    alphas=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8),
    parameters=(0.208, 0.269, 0.312, 0.332, 0.420, 0.467, 0.555, 0.582),
    steps=(0.236, 0.267, 0.307, 0.346, 0.376, 0.448, 0.468, 0.482),
    data=(0.275, 0.274, 0.297, 0.308, 0.335, 0.357, 0.373, 0.404),
)

#: Where exponents are read off, by direction. The first of each is the window of that notebook,
#: fixed before anything was measured here. ``low`` and ``high`` bound the width, the steps or the
#: data size; ``loss`` starts at the first point below that many bits.
WINDOWS = dict(
    parameters={"widths 10 to 300": dict(high=300), "all": {}, "from 30": dict(low=30)},
    steps={
        "500 to 15000": dict(low=500, high=15_000),
        "1500 to 15000": dict(low=1500, high=15_000),
        "from 500": dict(low=500),
        "from 2000": dict(low=2000),
    },
    data={"below 0.95 bits": dict(loss=0.95), "all": {}, "from 50000": dict(low=50_000)},
)
SMOKE_WINDOWS = dict(
    parameters={"all": {}, "from 8": dict(low=8)},
    steps={"from 20": dict(low=20), "all": {}},
    data={"below 0.95 bits": dict(loss=0.95), "all": {}},
)
