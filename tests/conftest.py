"""What every test can rely on: no window system, the same random numbers, nothing left behind."""

import gc
import html
import importlib
import json
import os
import random
import re
import sys

os.environ["MPLBACKEND"] = "Agg"  # before anything imports matplotlib
os.environ.setdefault("KEXUE_QUIET", "1")

import matplotlib
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

# The same examples in every run, and no verdict that depends on how busy the machine is.
settings.register_profile(
    "kexue",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("kexue")


def pytest_collection_finish():
    """All that was imported and collected stays: garbage is looked for among the rest only."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left_behind():
    """Seed every generator before a test, restore it after; refuse a changed dtype or style."""
    before = random.getstate(), np.random.get_state(), torch.get_rng_state()
    style = {k: v for k, v in dict.items(matplotlib.rcParams) if k != "backend"}
    random.seed(0)
    np.random.seed(0)
    torch.random.default_generator.manual_seed(0)
    yield
    random.setstate(before[0])
    np.random.set_state(before[1])
    torch.set_rng_state(before[2])
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    changed = {key for key, value in style.items() if dict.get(matplotlib.rcParams, key) != value}
    dict.update(matplotlib.rcParams, style)
    assert dtype == torch.float32, f"the test left torch's default dtype at {dtype}"
    assert not changed, f"the test left matplotlib's settings changed: {sorted(changed)}"


@pytest.fixture(scope="module")
def cells(request) -> list[dict]:
    """Cells of the stored notebook that a chapter's tests name NOTEBOOK."""
    return json.loads(request.module.NOTEBOOK.read_text(encoding="utf-8"))["cells"]


@pytest.fixture(scope="module")
def records(cells) -> dict[str, dict]:
    """Every ledger record that the notebook stores, by label."""
    outputs = [o for c in cells for o in c.get("outputs", []) if "data" in o]
    text = "".join("".join(o["data"].get("text/html", "")) for o in outputs)
    found = [json.loads(html.unescape(r)) for r in re.findall(r'data-ledger="([^"]*)"', text)]
    return {record["label"]: record for record in found}


@pytest.fixture(scope="module")
def tools(request):
    """The modules TOOLS of an artifact's FOLDER, which is on the path only while they are used."""
    folder, names = str(request.module.FOLDER), request.module.TOOLS
    sys.path.insert(0, folder)
    try:
        yield {name: importlib.import_module(name) for name in names}
    finally:
        sys.path.remove(folder)
        for name in names:
            sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def labels(cells) -> list[str]:
    """The labels of its numbered equations, in order."""
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    return re.findall(r"^\$\$ \((eq-[\w-]+)\)", text, re.MULTILINE)
