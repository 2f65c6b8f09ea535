"""The explorer with a kernel: an anywidget whose pictures Python computes on request.

Only names that ipywidgets 7.7 and anywidget 0.9 have are used, so it runs in Colab as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

ASSETS = Path(__file__).parent.parent / "site" / "assets"  # the site serves the same files
PAGE_ONLY = "/* -- page only"  # what follows in the style sheet is for stored figures


def asset(name: str) -> str:
    """Return the text of one of the files that the site serves too."""
    return (ASSETS / name).read_text(encoding="utf-8")


@cache
def widget_class() -> type:
    """Return the widget class; made at first use, since importing must stay cheap."""
    import anywidget
    import traitlets

    class ExplorerWidget(anywidget.AnyWidget):
        """Asks ``answer(positions) -> (bytes, alt text)`` for every picture."""

        _esm = asset("explore-draw.js") + asset("explore.js") + "export default kexueExplorer;"
        _css = asset("explore.css").split(PAGE_ONLY)[0]
        page = traitlets.Unicode().tag(sync=True)

        def __init__(self, page: str, answer: Callable[[list], tuple[bytes, str]]) -> None:
            super().__init__(page=page)
            self.answer = answer
            self.on_msg(self.reply)

        def reply(self, _widget: Any, message: dict, _buffers: list) -> None:
            """Answer a request for a picture; an error of the function is shown in place."""
            if message.get("kind") != "draw":
                return
            head = {"id": message["id"], "at": message["at"]}
            try:
                data, alt = self.answer(message["at"])
            except Exception as error:  # the reader's values: report, keep listening
                self.send({**head, "error": f"{type(error).__name__}: {error}"})
            else:
                self.send({**head, "alt": alt}, [data])

    return ExplorerWidget
