"""Figures that a reader can move: live with a kernel, alive without one.

:func:`interact` has the call shape of ``ipywidgets.interact``. Its output is one bundle: with a
kernel a widget that calls the function for every value, without one a figure whose controls move
over frames computed beforehand and stored in the notebook. A page that loads ``kexue.site`` (or
just its ``explore.js`` and ``explore.css``) needs nothing else: no kernel, no widget manager, no
other host, and it works from a file.
"""

from __future__ import annotations

from kexue.explore.explorer import Explorer
from kexue.explore.interactive import interact

__all__ = ["Explorer", "interact"]
