"""Train the models of one stage and keep of their losses what the page and the fits need.

A stage is one exponent alpha with one number of tasks. Its arrays, by name, losses in bits:

``steps`` (E,)                 steps at which was evaluated
``widths``, ``parameters`` (W,)
``losses`` (E, W, seeds)       mean test loss, weighted by the frequencies p_k
``learned`` (E, W, seeds)      how many tasks have a test loss below half a bit
``subtasks`` (E, K)            float16: every task's own loss, widest model, first seed
``learned_at`` (2, seeds, K)   S_k: step at which the loss of task k falls below 0.5 and 0.1 bits in
                               the widest model, interpolated in log steps; infinity where never
``sizes`` (D,), ``data_steps`` (E', D), ``data_losses`` (E', D, seeds)  models on D examples each
``data_best`` (D, seeds)       index of the evaluation with the least mean loss: early stopping
``data_subtasks`` (D, K)       float16: every task's loss there, first seed
``data_each`` (D, seeds)       mean loss if every task were stopped at its own best evaluation

Of a stage that was trained twice, of the first time: ``before_parameters`` (seeds, W),
``before_steps`` (seeds, E), ``before_data`` (seeds, D), the losses that exponents are read off, and
``before_learned_at`` (2, seeds, K).
"""

from __future__ import annotations

import torch
from torch import Tensor

from kexue.scaling import SparseParity, train_stack

THRESHOLDS = (0.5, 0.1)  # bits


def spaced_steps(steps: int, count: int) -> list[int]:
    """``count`` steps in equal ratios, from about a five-hundredth of all of them to the last."""
    first = max(4, steps // 500)
    ratio = (steps / first) ** (1 / (count - 1))
    return [round(first * ratio**i) for i in range(count)]


def crossing(x: Tensor, losses: Tensor, threshold: float) -> Tensor:
    """Where each loss first falls below ``threshold``, interpolated in log x.

    Parameters
    ----------
    x : (E,), positive, growing.
    losses : (E, ...), bits.

    Returns (...): infinity where it never does, ``x[0]`` where it starts below.
    """
    below = losses < threshold
    i = below.to(torch.uint8).argmax(0)  # the first
    j = (i - 1).clamp(min=0)
    after, before = (losses.double().gather(0, at[None])[0] for at in (i, j))
    share = torch.where(i > 0, (before - threshold) / (before - after), 0.0)
    log = x.double().log()
    at = log[j] + share * (log[i] - log[j])
    return at.exp().where(below.any(0), torch.inf)


def trained(setting: dict, seeds: range, say, *, steps: int, evaluations: int, **how):
    """Train models at once, and again for every seed: of the task's subsets, of the networks and of
    all examples. The first run, losses (E, models, seeds, K) and the seconds that each took."""
    made = []
    for seed in seeds:
        task, at = SparseParity(**setting, seed=seed), spaced_steps(steps, evaluations)
        run = train_stack(task, seeds=[seed], stream=seed, steps=steps, evaluate=at, **how)
        made.append(run)
        mean = run.mean_losses[-1]
        say(
            f"  seed {seed}: {len(mean)} models, {steps} steps, {run.seconds:.1f} s, "
            f"{len(mean) * steps / run.seconds:,.0f} model-steps/s, "
            f"{mean[0]:.3f} to {mean[-1]:.3f} bits"
        )
    return made[0], torch.stack([run.losses for run in made], 2), [run.seconds for run in made]


def widths(recipe: dict, setting: dict, seeds: range, say) -> tuple[list[float], dict]:
    """The directions of parameters and steps: all widths on a common stream of fresh examples."""
    run, losses, seconds = trained(setting, seeds, say, **recipe["train"], **recipe["widths"])
    widest, p = losses[:, -1], run.frequencies
    at = torch.stack([crossing(run.steps, widest, t) for t in THRESHOLDS])
    return seconds, dict(
        steps=run.steps.numpy(),
        widths=run.widths.numpy(),
        parameters=run.parameters.numpy(),
        losses=(losses.double() @ p).float().numpy(),
        learned=(losses < THRESHOLDS[0]).sum(-1).short().numpy(),
        subtasks=widest[:, 0].half().numpy(),
        learned_at=at.float().numpy(),
    )


def data(recipe: dict, setting: dict, seeds: range, say) -> tuple[list[float], dict]:
    """The direction of data: the widest model on data sets of many sizes, stopped early."""
    part, groups, seconds = recipe["data"], [], []
    for steps in sorted(set(part["steps"])):  # sizes trained equally long are trained at once
        sizes = [D for D, s in zip(part["sizes"], part["steps"], strict=True) if s == steps]
        how = part | dict(sizes=sizes, steps=steps)
        run, losses, took = trained(setting, seeds, say, **recipe["train"], **how)
        groups.append((losses, run.sizes, run.steps[:, None].expand(-1, len(sizes))))
        seconds += took
    losses, sizes, steps = (
        torch.cat(x, dim) for x, dim in zip(zip(*groups, strict=True), (1, 0, 1), strict=True)
    )
    mean = losses.double() @ run.frequencies
    best = mean.argmin(0)  # (D, seeds)
    first = best[:, :1].expand(-1, losses.shape[-1])
    return seconds, dict(
        sizes=sizes.numpy(),
        data_steps=steps.int().numpy(),
        data_losses=mean.float().numpy(),
        data_best=best.short().numpy(),
        data_subtasks=losses[:, :, 0].gather(0, first[None])[0].half().numpy(),
        data_each=(losses.min(0).values.double() @ run.frequencies).float().numpy(),
    )


def stage(name: str, recipe: dict, seed: int, say) -> tuple[dict, dict]:
    """What is asked of the stage ``"0.4"`` or ``"0.2, K = 100"``: notes and arrays."""
    alpha, _, n_tasks = name.partition(", K = ")
    setting = recipe["task"] | dict(alpha=float(alpha))
    setting |= dict(n_tasks=int(n_tasks)) if n_tasks else {}
    seeds = range(seed, seed + (recipe["seeds"] if name == str(recipe["main"]) else 1))
    seconds, arrays = widths(recipe, setting, seeds, say)
    about = dict(setting, seeds=list(seeds), seconds=dict(widths=seconds))
    if not n_tasks:
        seeds = seeds[: recipe["data_seeds"]]
        about["seconds"]["data"], more = data(recipe, setting, seeds, say)
        arrays |= more
    return about, arrays
