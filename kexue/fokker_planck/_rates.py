"""Jump rates between neighboring cells: how a drift and a diffusion become a Markov chain.

Along one axis the Fokker-Planck equation (eq-fp-ito) is dp/dt = -dJ/dx with the current

    J = f p - 1/2 d(D p)/dx = v p - 1/2 D dp/dx,        v = f - 1/2 dD/dx,  D = g^2.

Itô's diffusion coefficient stands inside the derivative; the second form moves it out and corrects
the velocity. Through the face between cells i and i + 1 (centers h apart) the scheme lets flow

    J = h (up p_i - down p_{i+1}),

so that ``up`` is the rate of jumps i -> i + 1 and ``down`` of i + 1 -> i: the master equation
(eq-fp-master). With v and D constant between the two centers, a stationary current can be solved
for exactly; the result is the exponential scheme of Il'in and of Scharfetter and Gummel,

    up = D / (2 h^2) B(-w),   down = D / (2 h^2) B(w),   B(w) = w / (e^w - 1),   w = 2 h v / D.

Both are >= 0 whatever w, and up / down = e^w: a chain in equilibrium has the stationary density.
For |w| << 2 it is the central difference, for |w| >> 2 (or D = 0) the upwind one, which is of
first order. Sources: Scharfetter & Gummel 1969 (IEEE Trans. Electron Devices 16, 64); Chang &
Cooper 1970 (J. Comput. Phys. 6, 1), for the Fokker-Planck equation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg.lapack import dgttrf, dgttrs

from kexue.fokker_planck._cells import Axis, points_of

FLUXES = ("exponential", "central")


def exponential(z: NDArray, a: NDArray) -> tuple[NDArray, NDArray]:
    """(a B(-w), a B(w)) with w = z / a: upwind jumps, and s = |z| / (e^{|w|} - 1) both ways.

    Written so, neither loses digits at w = 0 or at large |w|, and a = 0 needs no case of its own.
    """
    speed = np.abs(z)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        s = np.where(speed > 0, speed / np.expm1(speed / a), a)
    return np.maximum(z, 0) + s, np.maximum(-z, 0) + s


def central(z: NDArray, a: NDArray) -> tuple[NDArray, NDArray]:
    """(a + z / 2, a - z / 2), with w = z / a: one of the two is negative where |w| > 2."""
    return a + z / 2, a - z / 2


def along(sde: Any, axes: list[Axis], k: int, t: float, flux: str) -> tuple[NDArray, NDArray]:
    """Rates ``up`` and ``down`` through the faces along axis ``k``, 1 / time.

    With one axis the SDE is asked at points of shape (N,), with more at points of shape (..., d).

    Returns:
        Two arrays of the shape of the cells with the axis k and the last exchanged. Entry i
        belongs to the face above cell i; the last along the axis is 0, the wall.

    The drift is averaged from center to center by Simpson's rule, so that w is the exact
    difference of potentials for a polynomial potential up to degree 4.
    """
    h = axes[k].h
    f, d = _coefficients(sde, axes, k, t)
    a = d[..., 1::2] / (2 * h**2)
    z = (f[..., :-2:2] + 4 * f[..., 1::2] + f[..., 2::2]) / (6 * h)
    z -= (d[..., 2::2] - d[..., :-2:2]) / (2 * h**2)  # -1/2 dD/dx
    rates = np.zeros((2, *z.shape[:-1], axes[k].cells))
    rates[..., :-1] = (exponential if flux == "exponential" else central)(z, a)
    return rates[0], rates[1]


@torch.no_grad()
def _coefficients(sde: Any, axes: list[Axis], k: int, t: float) -> tuple[NDArray, NDArray]:
    """f and g^2 at the centers and the faces along axis k, that axis exchanged with the last."""
    x = points_of(
        [*(a.centers for a in axes[:k]), axes[k].inner, *(a.centers for a in axes[k + 1 :])]
    )
    f, g = (
        np.broadcast_to(np.asarray(value, float), x.shape)
        for value in (sde.drift(x, t), sde.diffusion(x, t))
    )
    if not (np.isfinite(f).all() and np.isfinite(g).all()):
        raise ValueError(f"sde: got NaN or infinite coefficients at t = {t:g}, needs finite ones")
    if len(axes) > 1:
        f, g = f[..., k].swapaxes(k, -1), g[..., k].swapaxes(k, -1)
    return f, g**2


class Implicit:
    """One step along one axis, factored: y = (1 - c Q_k)^{-1} p, all lines in one system.

    The matrix is an M-matrix whose columns sum to 1: y is >= 0 if p and the rates are, its sum is
    that of p, and elimination needs no exchange of rows. Arrays hold the lines one after the other.
    """

    def __init__(self, up: NDArray, down: NDArray, c: float) -> None:
        # The 0 at the end of every line separates it from the next.
        self.up, self.down, self.c = c * up.ravel()[:-1], c * down.ravel()[:-1], c
        diagonal = np.ones(up.size)
        diagonal[:-1] += self.up
        diagonal[1:] += self.down
        *self.factors, info = dgttrf(-self.up, diagonal, -self.down)
        if info:
            raise ValueError("flux: got a singular step (central flux); needs a shorter step")

    def euler(self, p: NDArray) -> NDArray:
        """y: implicit Euler over the time c."""
        return dgttrs(*self.factors, p)[0]

    def crank_nicolson(self, p: NDArray) -> NDArray:
        """(1 + c Q_k) y = 2 y - p over the time 2 c, as p plus what flows through the faces.

        In this form rounding cannot create mass: what leaves a cell is what enters the next.
        """
        y = dgttrs(*self.factors, p)[0]
        flow = self.up * y[:-1]
        flow -= self.down * y[1:]
        flow *= 2
        p = p.copy()
        below, above = p[:-1], p[1:]
        below -= flow
        above += flow
        return p
