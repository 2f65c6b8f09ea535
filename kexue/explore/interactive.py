"""`interact`: what an author calls."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kexue.explore.explorer import Explorer


def interact(
    fn: Callable | None = None,
    /,
    *,
    frames: int | Iterable | Mapping[str, Any] | None = None,
    alt: Callable[..., str] | str | None = None,
    caption: str = "",
    name: str = "",
    labels: Mapping[str, str] | None = None,
    units: Mapping[str, str] | None = None,
    play: str | Iterable[str] = (),
    mode: str = "auto",
    interpolate: bool | float = False,
    limit: int | None = None,
    show: bool = True,
    **params: Any,
) -> Callable:
    """Show a figure whose parameters can be moved, in a notebook and on a page without a kernel.

    Use it as ``ipywidgets.interact``: ``interact(f, t=(1, 100))`` or ``@interact(t=(1, 100))``.

    Parameters
    ----------
    fn : callable
        Draws with matplotlib (a new figure at each call), prints, or returns something to show,
        for instance a SymPy expression.
    **params
        A range for each parameter: ``(low, high)`` or ``(low, high, step)``, a number (a slider
        around it), a ``bool``, a list or ``{text: value}`` of choices, an ipywidgets slider,
        drop-down, check box or ``Play``, or ``fixed(value)``. Missing ones come from ``fn``'s
        defaults, which also say where a slider starts.
    frames : int, sequence or dict
        The values that are stored for pages without a kernel: how many, evenly spaced, or which;
        a dictionary gives them slider by slider. The default value is always among them. With a
        kernel the whole range can be moved. Unless told: 41, 13 x 13 or 7 x 7 x 7.
    alt : callable or str
        What the figure shows, for those who do not see it: ``alt(t) -> str`` of any of the
        parameters. A string, or the first line of ``fn``'s docstring, is completed by the values.
    caption : str
        Below the figure; ``$x$`` is a formula. On a page of ``kexue.site`` it gets a number.
    name : str
        What refers to the number, with Sphinx' ``{numref}`` or ``{ref}``: ``name="fig-wave"``.
    labels, units : dict
        Names to show for parameters, and their units.
    play : str or list of str
        Sliders that get a play button.
    mode : {"auto", "curves", "frames"}
        Store numbers that the browser draws, or pictures. ``auto`` takes curves where matplotlib's
        drawing can be kept as numbers and is small, else pictures; images inside a figure
        (``imshow``) are stored as such with the rest around them drawn.
    interpolate : bool or float
        Blend the curves between stored values, so that sliders move continuously. The error is
        measured in the middle of up to 48 cells of the grid and must stay under 1 % of the
        figure's height, or under the fraction given.
    limit : int
        The most bytes on the wire; 60,000 for curves and 300,000 for frames unless given.
    show : bool
        Whether to display the explorer; without, only ``fn.explorer`` is made.

    Returns
    -------
    callable
        ``fn`` itself, with the displayed :class:`Explorer` as ``fn.explorer``.

    Raises
    ------
    ValueError, TypeError
        At the call: for unknown parameters, empty or reversed ranges, a function that draws
        nothing, grids with too many frames or bytes, or curves that blend badly. What ``fn``
        raises at any stored value passes through: no frame is ever blank.

    Examples
    --------
    >>> import matplotlib.pyplot as plt, numpy as np
    >>> def wave(f=2.0):
    ...     "A sine wave"
    ...     x = np.linspace(0, 1, 50)
    ...     plt.plot(x, np.sin(2 * np.pi * f * x))
    >>> _ = interact(wave, f=(1.0, 3.0), frames=5, units={"f": "Hz"})
    A sine wave. f = 2.0 Hz.
    >>> wave.explorer.mode, wave.explorer.controls[0].values
    ('curves', [1.0, 1.5, 2.0, 2.5, 3.0])
    """
    options = {
        "frames": frames,
        "alt": alt,
        "caption": caption,
        "name": name,
        "labels": labels or {},
        "units": units or {},
        "play": play,
        "mode": mode,
        "interpolate": interpolate,
        "limit": limit,
    }
    if fn is None:
        return lambda function: interact(function, show=show, **options, **params)
    if not callable(fn):
        raise TypeError(f"fn: got {fn!r}, needs a function")
    from IPython import get_ipython
    from IPython.display import display

    explorer = Explorer(fn, options, params)
    if show:
        data, metadata = explorer.bundle()  # not by display(explorer), which would swallow errors
        if get_ipython() is None:
            print(data["text/plain"])
        else:
            display(data, metadata=metadata, raw=True)
    with contextlib.suppress(AttributeError):  # a bound method cannot carry it
        fn.explorer = explorer
    return fn
