"""Run an explorer under Colab's widget versions and compare what it stores with this environment.

``make colab-widgets`` makes a virtual environment with the versions that Colab has (it needs a
package index), runs one notebook there and one here, and fails unless the stored explorers agree,
the widget answers a request, and under a stand-in for ``google.colab`` the output is the live
widget alone, through Colab's own widget manager.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import colab_freeze  # noqa: E402  (the folder above is where it is found)

NAMES = [
    *("ipython", "ipykernel", "ipywidgets", "widgetsnbextension", "jupyterlab-widgets"),
    *("anywidget", "jupyter-client", "traitlets", "tornado", "numpy", "matplotlib", "sympy"),
    *("nbformat", "nbclient"),
]
PINS = [f"{name}=={colab_freeze.read().packages[name]}" for name in NAMES]

CELLS = [
    """
import numpy as np
import matplotlib.pyplot as plt
import ipywidgets
from kexue.explore import interact
print(ipywidgets.__version__)
""",
    """
@interact(f=(1.0, 3.0), grow=False, frames=5, units={"f": "Hz"}, caption="A wave of $f$.")
def wave(f=2.0, grow=False):
    "A sine wave"
    x = np.linspace(0, 1, 50)
    plt.figure(figsize=(5, 3))
    plt.plot(x, np.sin(2 * np.pi * f * x) * (x if grow else 1))
    plt.ylim(-1.1, 1.1)
    plt.xlabel(r"$\\bar\\alpha_t$")
""",
    """
@interact(n=ipywidgets.IntSlider(2, 1, 3), s=ipywidgets.Dropdown(options=["a", "b"]))
def text(n, s):
    print(n * s)
""",
    """
sent = []
widget = wave.explorer.widget
widget.send = lambda *message: sent.append(message)
widget._handle_custom_msg({"kind": "draw", "id": 1, "at": [1.3, 1]}, [])
widget._handle_custom_msg({"kind": "draw", "id": 2, "at": [None, 1]}, [])
print(sent[0][0], type(sent[0][1][0]).__name__, "error" in sent[1][0])
""",
    """
import sys, types
output = types.ModuleType("google.colab.output")
output.enabled = 0
def enable():
    output.enabled += 1
output.enable_custom_widget_manager = enable
output._widgets = types.SimpleNamespace(_installed_url="the manager's address")
sys.modules["google.colab"] = types.ModuleType("google.colab")
sys.modules["google.colab.output"] = output
wave.explorer.widget.close()
live = type(wave.explorer)(wave, wave.explorer.options, {"f": (1.0, 3.0)})
data, metadata = live.bundle()
print(sorted(data), metadata, output.enabled > 0)
""",
]
RUN = """
import json, sys, nbformat, nbclient
cells = [nbformat.v4.new_code_cell(c) for c in json.load(sys.stdin)]
nb = nbformat.v4.new_notebook(cells=cells)
nbclient.NotebookClient(nb, timeout=300, kernel_name="python3").execute()
print("\\n@@" + json.dumps([[dict(o) for o in c.outputs] for c in nb.cells]))
"""
VIEW = "application/vnd.jupyter.widget-view+json"


def run(python: Path) -> list[list[dict]]:
    """Return the outputs of the notebook's cells under an interpreter."""
    done = subprocess.run(
        [python, "-c", RUN],
        input=json.dumps(CELLS),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": f"{python.parent}:/usr/bin:/bin", "HOME": "/tmp"},
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    return json.loads(done.stdout.rpartition("\n@@")[2])


def main() -> int:
    """Return 0 if both environments agree."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--venv", type=Path, help="an environment with the pins, kept for next time"
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = parser.parse_args().venv or Path(scratch) / "colab"
        python = folder / "bin" / "python"
        if not python.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            subprocess.run([python, "-m", "pip", "install", "-q", *PINS], check=True)
        there, here = run(python), run(Path(sys.executable))
    from kexue.explore.stored import differences

    text = "".join(o.get("text", "") for o in there[0])
    colabs = colab_freeze.read().packages["ipywidgets"]
    faults = [] if colabs in text else [f"ipywidgets is {text.strip()}, not {colabs}"]
    for number in (1, 2):
        bundles = [
            next(o["data"] for o in outputs[number] if "data" in o) for outputs in (there, here)
        ]
        faults += [f"cell {number}: no widget view" for b in bundles if VIEW not in b]
        faults += [f"cell {number}: {d}" for d in differences(*(b["text/html"] for b in bundles))]
        print(f"cell {number}: same bytes: {bundles[0]['text/html'] == bundles[1]['text/html']}")
    for number in (3, 4):
        said = ["".join(o.get("text", "") for o in outputs[number]) for outputs in (there, here)]
        print(f"cell {number}: {said[0].strip()}")
        faults += [] if said[0] == said[1] and said[0] else [f"cell {number}: {said}"]
    colab = "".join(o.get("text", "") for o in there[4])
    if not colab.startswith(f"['{VIEW}', 'text/plain']") or "the manager's address" not in colab:
        faults.append(f"under google.colab: {colab}")
    print("\n".join(faults) or "Colab's widget set and this one agree.")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
