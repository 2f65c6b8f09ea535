"""The Fokker-Planck equation on a grid of cells, as the master equation of a Markov chain.

A density becomes its means over cells, p_i; what leaves one cell enters its neighbor, so mass is
conserved by construction. ``_rates`` turns drift and diffusion into rates of jumps between
neighbors, and the equation into dp/dt = Q p (eq-fp-master), Q with columns that sum to zero. The
error is O(h^2) in the width of the cells, O(h) where the noise vanishes.

Time steps are implicit, so their length is not bound by h^2: one tridiagonal system a step, by
LAPACK through SciPy. In more dimensions Q = Q_1 + ... + Q_d, one part an axis, and a step is a
product of steps along one axis at a time (Strang 1968), all lines of the axis one long system.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import scipy.sparse
import torch
from numpy.typing import NDArray
from scipy.sparse.linalg import splu
from torch import Tensor

from kexue import _check
from kexue.fokker_planck._cells import Axis, nodes_of, points_of
from kexue.fokker_planck._rates import FLUXES, Implicit, along

__all__ = ["FiniteVolumes"]

METHODS = ("crank-nicolson", "implicit-euler")


class FiniteVolumes:
    """Cells of a box, and the Fokker-Planck equation of ``sde`` on them (eq-fp-ito, diagonal D).

    Args:
        sde: dx = f(x, t) dt + g(x, t) dw with elementwise noise; g = 0 is allowed (a continuity
            equation, solved by first-order upwind differences).
        axes: (low, high, cells) for every axis, at least two cells. One axis: the SDE is asked at
            points of shape (N,), a law of numbers; d axes: at points of shape (..., d).
        flux: "exponential" (rates >= 0, see ``_rates``), or "central", the naive difference, whose
            densities go negative where the cell's Péclet number 2 h |f| / g^2 exceeds 2.
        steady: whether f and g do not depend on t, so that a step's matrix is factored once. If not
            given, the attribute ``steady`` of ``sde``; without one the coefficients are asked
            again at every step, which is always right.

    The walls of the box let nothing through. A box too small shows as mass piled up at the walls,
    not as mass lost. Densities are float64 tensors of shape ``shape``, on the CPU; they mean
    density, not probability: a cell holds p_i times ``volume``.

    Attributes:
        shape: number of cells along every axis. centers: the cells' centers, shape (N,) with one
            axis, (*shape, d) with more. faces: the walls between cells of every axis, (cells + 1,)
            each. volume: of one cell.

    Raises:
        TypeError, ValueError: naming the argument; matrix noise, which has no such splitting.

    >>> from kexue.density import GaussianMixture
    >>> from kexue.fokker_planck import OrnsteinUhlenbeck
    >>> cells = FiniteVolumes(OrnsteinUhlenbeck(1.0, 2**0.5), [(-6.0, 8.0, 400)])
    >>> one = torch.ones(1, dtype=torch.float64)
    >>> start = cells.project(GaussianMixture(one, 2 * one, one / 4))
    >>> *_, p = cells.evolve(start, [0.0, 1.0], substeps=50)
    >>> f"{cells.mass(p):.12f} {cells.expect(p, lambda x: x):.4f} {2 / math.e:.4f}"
    '1.000000000000 0.7359 0.7358'
    """

    def __init__(
        self,
        sde: Any,
        axes: Sequence[tuple[float, float, int]],
        flux: str = "exponential",
        steady: bool | None = None,
    ) -> None:
        if getattr(sde, "matrix", False):
            raise ValueError("sde: got matrix noise, needs elementwise noise (diagonal D)")
        self.sde, self.flux = sde, _check.one_of("flux", flux, FLUXES)
        self.steady = bool(getattr(sde, "steady", False) if steady is None else steady)
        self._axes = [Axis(axis) for axis in axes]
        if not self._axes:
            raise ValueError("axes: got none, needs at least one (low, high, cells)")
        self.faces = [axis.faces for axis in self._axes]
        self.shape = tuple(axis.cells for axis in self._axes)
        self.volume = math.prod(axis.h for axis in self._axes)

    def __repr__(self) -> str:
        axes = ", ".join(f"({axis.low:g}, {axis.high:g}, {axis.cells})" for axis in self._axes)
        return f"FiniteVolumes([{axes}], flux={self.flux!r})"

    @property
    def centers(self) -> Tensor:
        """The cells' centers: (N,) with one axis, (*shape, d) with more."""
        return points_of([axis.centers for axis in self._axes])

    # Densities in and out --------------------------------------------------------------------

    def project(self, prob: Any, points: int = 3, tolerance: float = 1e-6) -> Tensor:
        """Means of a density over the cells, by Gauss-Legendre quadrature in each.

        Args:
            prob: a law with ``log_prob``, or a density as a function of points shaped as
                ``centers``, with any axes before.
            points: of the quadrature, along every axis of a cell; 1 takes the value at the center.
            tolerance: how far the mass in the box may be from 1. ``math.inf`` accepts any; the
                result is never rescaled, and ``mass`` tells.

        Raises:
            ValueError: if it is farther: a box too small for the density, or cells too coarse.
        """
        if tolerance != math.inf:
            tolerance = _check.real("tolerance", tolerance, low=0)
        density = (lambda x: prob.log_prob(x).exp()) if hasattr(prob, "log_prob") else prob
        points = _check.integer("points", points, low=1, high=16)
        nodes, weights = nodes_of(points, len(self.shape))
        half = torch.tensor([axis.h / 2 for axis in self._axes], dtype=torch.float64)
        p, centers = torch.zeros(self.shape, dtype=torch.float64), self.centers
        # Few cells: all nodes at once; many: one node of every cell at a time, to save memory.
        block = max(1, 2**16 // p.numel())
        for i in range(0, len(nodes), block):
            values = density(centers + half * nodes[i : i + block]).to(p)
            p += (weights[i : i + block] @ values.reshape(-1, p.numel())).reshape(self.shape)
        mass = self.mass(p)
        if not abs(mass - 1) <= tolerance:
            raise ValueError(
                f"prob: got a mass of {mass:.9g} in the box, needs 1 within {tolerance:g}; widen "
                "the box, refine the cells, or raise the tolerance to go on with this mass"
            )
        return p

    def mass(self, p: Tensor) -> float:
        """Sum of p_i times the volume of a cell: what ``evolve`` leaves unchanged."""
        return float(self._check(p).sum()) * self.volume

    def expect(self, p: Tensor, phi: Callable[[Tensor], Tensor]) -> float:
        """E phi(x) = sum_i p_i phi(c_i) times the volume, with error O(h^2).

        ``phi`` takes points shaped as ``centers`` and returns one number for each cell.
        """
        p, value = self._check(p), torch.as_tensor(phi(self.centers), dtype=torch.float64)
        if value.shape != p.shape:
            raise ValueError(f"phi: got shape {tuple(value.shape)}, needs {self.shape}")
        return float((p * value).sum()) * self.volume

    # The equation ------------------------------------------------------------------------------

    def rates(self, t: float = 0.0) -> scipy.sparse.csc_array:
        """Q(t) with dp/dt = Q p, shape (N, N) (eq-fp-master), cells in the order of ``p``.

        Q[j, i] is the rate of jumps from cell i to j; columns sum to 0. With the exponential flux
        Q is the generator of a Markov chain: what is off the diagonal is >= 0.
        """
        count, diagonals, offsets, out = math.prod(self.shape), [], [], 0.0
        for axis in range(len(self.shape)):
            up, down = (r.swapaxes(axis, -1) for r in self._along(axis, t))
            stride = math.prod(self.shape[axis + 1 :])
            diagonals += [rate.reshape(-1)[: count - stride] for rate in (up, down)]
            offsets += [-stride, stride]
            # ``down`` leaves the cell above the face: one further along the axis (a wall, then, is
            # the 0 that rolls over to the first cell).
            out = out + up + np.roll(down, 1, axis)
        q = scipy.sparse.diags_array([*diagonals, -out.reshape(-1)], offsets=[*offsets, 0])
        return q.tocsc()

    def stationary(self, t: float = 0.0) -> Tensor:
        """The density p >= 0 of mass 1 with Q(t) p = 0.

        On one axis the current through every face vanishes (detailed balance), so
        p_{i+1} / p_i = up_i / down_i. With more axes there may be a current; implicit Euler steps,
        each far longer than any relaxation, converge to p.

        Raises:
            ValueError: where rates are not all positive (no noise, or the central flux): p may
                then not be unique, or not a density.
        """
        pairs = [self._along(axis, t) for axis in range(len(self.shape))]
        if min(rate[..., :-1].min() for pair in pairs for rate in pair) <= 0:
            raise ValueError("sde: got rates <= 0, needs noise everywhere and the exponential flux")
        if len(self.shape) == 1:
            up, down = (rate[:-1] for rate in pairs[0])
            log_p = np.concatenate([[0.0], np.cumsum(np.log(up) - np.log(down))])
            p = np.exp(log_p - log_p.max())
        else:
            q = self.rates(t)
            far = 1e8 / abs(q.diagonal()).min()
            solve = splu(scipy.sparse.eye_array(q.shape[0], format="csc") - far * q).solve
            p, before = np.ones(q.shape[0]), 0.0
            for _ in range(100):
                p, before = solve(p), p
                p /= p.sum()
                if abs(p - before).sum() < 1e-13:
                    break
        return torch.from_numpy(p.reshape(self.shape) / (p.sum() * self.volume))

    def evolve(
        self,
        p: Tensor,
        times: Iterable[float],
        substeps: int = 1,
        method: str = "crank-nicolson",
    ) -> Iterator[Tensor]:
        """Solve dp/dt = Q p from times[0]; yield p at every time, the first included.

        Args:
            p: density at times[0], shape ``shape``; not changed.
            times: increasing, at least one.
            substeps: equal steps from each time to the next.
            method: "crank-nicolson", with error O(dt^2). Densities stay >= 0 for certain only if
                dt <= 2 / max_i |Q_ii| (of each axis), about 2 h^2 / g^2; longer steps are stable,
                and harmless where p is smooth, but make a jump in p oscillate. "implicit-euler",
                with error O(dt), keeps p >= 0 for every dt with the exponential flux; it keeps the
                mass to about 1e-15 a step, Crank-Nicolson to the last digit.

        Crank-Nicolson is y = (1 - dt Q / 2)^{-1} p, then (1 + dt Q / 2) y, with Q at the middle of
        the step, and along several axes in the order 1/2, 1/2, ..., 1, ..., 1/2, 1/2
        (Strang). Implicit Euler takes Q at the end of the step, and one axis after the other.

        Raises:
            TypeError, ValueError: bad arguments, at once; while running, coefficients that are not
                finite.
        """
        p = self._check(p).detach().numpy()
        times = [_check.real("times", t) for t in times]
        if not times or any(s >= t for s, t in itertools.pairwise(times)):
            raise ValueError(f"times: got {times}, needs an increasing sequence")
        substeps = _check.integer("substeps", substeps, low=1)
        method = _check.one_of("method", method, METHODS)
        return self._evolve(p, times, substeps, method == "crank-nicolson")

    def _evolve(
        self, p: NDArray, times: list[float], substeps: int, centered: bool
    ) -> Iterator[Tensor]:
        """The loop of ``evolve``."""
        *first, last = range(len(self.shape))
        sweep = [(axis, 1.0) for axis in (*first, last)]
        if centered:
            sweep = [(axis, 0.5) for axis in first]
            sweep = [*sweep, (last, 1.0), *reversed(sweep)]
        known: dict[int, Implicit] = {}  # by axis, as long as the step stays what it was
        yield torch.from_numpy(p.copy())
        for begin, end in itertools.pairwise(times):
            dt = (end - begin) / substeps
            for step in range(substeps):
                t = begin + (step + (0.5 if centered else 1.0)) * dt
                for axis, share in sweep:
                    c = dt * share / (2 if centered else 1)
                    solver = known.get(axis)
                    if solver is None or not (self.steady and math.isclose(solver.c, c)):
                        known[axis] = solver = Implicit(*self._along(axis, t), c)
                    lines = p.swapaxes(axis, -1)
                    take = solver.crank_nicolson if centered else solver.euler
                    p = take(lines.ravel()).reshape(lines.shape).swapaxes(axis, -1)
            yield torch.from_numpy(p.copy())

    def _along(self, axis: int, t: float) -> tuple[NDArray, NDArray]:
        return along(self.sde, self._axes, axis, t, self.flux)

    def _check(self, p: Any) -> Tensor:
        if not isinstance(p, Tensor) or p.dtype != torch.float64:
            kind = p.dtype if isinstance(p, Tensor) else type(p).__name__
            raise TypeError(f"p: got {kind}, needs a float64 tensor")
        if p.shape != self.shape:
            raise ValueError(f"p: got shape {tuple(p.shape)}, needs {self.shape}")
        return p
