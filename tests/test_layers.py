"""The floors of the house: who may import whom, and that an import does nothing but import.

The floors are those of the design; a new room is added here, on one of them, before it is used.
"""

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import kexue

ROOT = Path(kexue.__file__).parent
FLOORS = {
    "runtime": 0,
    "symbolic": 0,
    "doctor": 1,
    "ledger": 1,  # it asks symbolic whether two sides are equal
    "data": 0,
    "schedule": 1,
    "density": 1,
    "diffusion": 2,
    "fokker_planck": 2,
    "scaling": 2,
    "attention": 2,
    "nets": 2,
    "plot": 3,
    "explore": 3,
    "exercises": 3,
}
CLOSED = {"explore", "site"}  # nothing imports these
MAX_LINES = 330

FILES = sorted(ROOT.rglob("*.py"))
ROOMS = sorted({path.relative_to(ROOT).parts[0].removesuffix(".py") for path in FILES})
ROOMS = [room for room in ROOMS if not room.startswith("_")]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rooms_imported(source: str, module: str, package: bool) -> set[str]:
    """The rooms of kexue that a file imports, at the top, inside functions, or by name."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                home = module.split(".")[: len(module.split(".")) - node.level + package]
                base = ".".join([*home, *([node.module] if node.module else [])])
            found |= {f"{base}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            name = node.func.id if isinstance(node.func, ast.Name) else name
            if name in ("import_module", "__import__", "reload"):
                found |= {a.value for a in node.args if isinstance(a, ast.Constant)}
    inside = (str(name).split(".") for name in found if str(name).split(".")[0] == "kexue")
    return {parts[1] for parts in inside if len(parts) > 1} - {"__version__"}


def violations(module: str, imported: set[str]) -> list[str]:
    """What is wrong with ``module`` importing these rooms, in words."""
    room = module.split(".")[1] if "." in module else ""
    wrong = []
    for other in sorted(imported - {room}):
        private = other.startswith("_")
        if room == "__main__" and other not in CLOSED:
            continue  # the command line may call any room
        if not room:
            wrong.append(f"kexue imports {other}: it must import nothing")
        elif other in CLOSED:
            wrong.append(f"{room} imports {other}: nothing may")
        elif room == "site":
            wrong.append(f"site imports {other}: it serves other books too and imports no room")
        elif room.startswith("_") and not private:
            wrong.append(f"{room} imports {other}: what all rooms share lies below them")
        elif not private and FLOORS[other] >= FLOORS[room]:
            wrong.append(
                f"{room} (floor {FLOORS[room]}) imports {other} (floor {FLOORS[other]}): "
                "only from floors below"
            )
    return wrong


def test_every_room_has_a_floor():
    assert set(ROOMS) <= set(FLOORS) | {"site"}, "a new room: give it a floor above"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_from_floors_below(path):
    module = module_name(path)
    imported = rooms_imported(path.read_text("utf-8"), module, path.name == "__init__.py")
    assert violations(module, imported) == []


@pytest.mark.parametrize(
    "module, source",
    [
        ("kexue", "import torch; from kexue import runtime"),
        ("kexue.runtime", "from kexue.data import load"),
        ("kexue.schedule", "def f():\n    from kexue import density"),
        ("kexue.density.mixture", "from ..schedule import Schedule"),
        ("kexue.density.mixture", "from .. import schedule"),
        ("kexue.diffusion", "import kexue.nets as n"),
        ("kexue.diffusion", "import importlib\nimportlib.import_module('kexue.plot')"),
        ("kexue.exercises", "from kexue.explore import interact"),
        ("kexue.plot", "import kexue.site.figures"),
        ("kexue.site.figures", "from kexue.plot import setup"),
        ("kexue.site.figures", "from kexue import _check"),
        ("kexue._check", "from kexue.runtime import device"),
    ],
)
def test_a_forbidden_import_is_found(module, source):
    assert len(violations(module, rooms_imported(source, module, package=False))) == 1


@pytest.mark.parametrize(
    "module, package, source",
    [
        ("kexue.schedule", False, "from kexue import _check, runtime"),
        ("kexue.runtime", False, "from kexue import __version__, _check"),
        ("kexue.density", True, "from .mixture import GaussianMixture; from kexue import _check"),
        ("kexue.density.mixture", False, "from . import distances; from .. import _check"),
        ("kexue.__main__", False, "from kexue import doctor, plot"),
        ("kexue.explore.widget", False, "from kexue.diffusion import ddpm; import kexue.data"),
        ("kexue.site", True, "from . import assets; from .figures import setup"),
    ],
)
def test_an_allowed_import_is_not(module, package, source):
    assert violations(module, rooms_imported(source, module, package)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_are_short_enough_to_read(path):
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= MAX_LINES, f"{lines} lines: split it by subject"


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_exist_and_are_documented(room):
    module = importlib.import_module(f"kexue.{room}")
    names = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
    assert [name for name in names if not hasattr(module, name)] == [], "in __all__, not there"
    assert module.__doc__, "the room has no docstring"
    bare = []
    for name in names:
        thing = getattr(module, name)
        if not getattr(thing, "__module__", "").startswith(f"kexue.{room}"):
            continue
        if inspect.isfunction(thing) and not thing.__doc__:
            bare.append(name)
        if inspect.isclass(thing):
            bare += [name] if "__doc__" not in vars(thing) or not thing.__doc__ else []
            # inspect.getdoc follows the method up to the base class that documents it
            bare += [
                f"{name}.{method}"
                for method, value in vars(thing).items()
                if not method.startswith("_")
                and (inspect.isroutine(value) or isinstance(value, property))
                and not inspect.getdoc(getattr(thing, method))
            ]
    assert bare == [], "no docstring"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_file_and_public_definition_has_a_docstring(path):
    tree = ast.parse(path.read_text("utf-8"))
    assert ast.get_docstring(tree), "the file has no docstring"
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    public = [n for n in tree.body if isinstance(n, kinds) and not n.name.startswith("_")]
    assert [n.name for n in public if not ast.get_docstring(n)] == [], "no docstring"


def python(code: str) -> str:
    """Run code in a fresh interpreter, warnings as errors; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT.parent,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_import_kexue_loads_nothing_and_prints_nothing():
    loaded = python("import sys, json; a = set(sys.modules); import kexue\nprint(json.dumps("
                    "sorted(set(sys.modules) - a)))")  # fmt: skip
    assert json.loads(loaded) == ["kexue"]


# What an import must not touch. The other packages are imported first, so that only kexue's own
# doing shows.
STATE = """
import json, locale, logging, os, random, signal, sys, threading, warnings
import IPython, ipywidgets, anywidget, matplotlib, numpy as np, safetensors.torch, scipy.stats
import myst_nb, sklearn, sphinx.application, sympy, torch, torch.nn, tqdm
import matplotlib.pyplot as plt

def state():
    return {
        "torch default dtype": torch.get_default_dtype(),
        "torch default device": torch.get_default_device(),
        "torch grad mode": torch.is_grad_enabled(),
        "torch determinism": torch.are_deterministic_algorithms_enabled(),
        "torch matmul precision": torch.get_float32_matmul_precision(),
        "torch threads": torch.get_num_threads(),
        "torch random state": torch.get_rng_state().tolist(),
        "torch print options": str(vars(torch._tensor_str.PRINT_OPTS)),
        "numpy error state": np.geterr(),
        "numpy print options": str(np.get_printoptions()),
        "numpy random state": str(np.random.get_state()),
        "python random state": random.getstate(),
        "matplotlib rcParams": {k: str(v) for k, v in dict.items(matplotlib.rcParams)},
        "matplotlib styles": sorted(plt.style.library),
        "matplotlib figures": plt.get_fignums(),
        "warning filters": [str(f) for f in warnings.filters],
        "environment": dict(os.environ),
        "working directory": os.getcwd(),
        "sys.path": list(sys.path),
        "hooks": [str(h) for h in (sys.excepthook, sys.displayhook, signal.getsignal(2))],
        "logging": [str(h) for h in logging.root.handlers] + [logging.root.level],
        "locale": locale.setlocale(locale.LC_ALL),
        "threads": threading.active_count(),
        "sympy printing": str(sympy.srepr(sympy.Symbol("x"))) + str(sympy.init_printing.__module__),
    }

"""

IMPORTS = """
import importlib
changed, before = {{}}, state()
for room in {rooms}:
    importlib.import_module("kexue." + room)
    after = state()
    changed[room] = [key for key in after if after[key] != before[key]]
    before = after

torch.set_default_dtype(torch.float64); np.seterr(all="raise")
matplotlib.rcParams["axes.grid"] = True; warnings.simplefilter("ignore")
torch.rand(1); np.random.rand(); random.random(); os.environ["A_B"] = "1"
after = state()
changed["what we changed ourselves"] = [key for key in after if after[key] != before[key]]
print(json.dumps(changed))
"""


def test_importing_a_room_changes_no_global_state():
    changed = json.loads(python(STATE + IMPORTS.format(rooms=ROOMS)))
    # That a change would be seen: the eight that the script makes at its end.
    assert len(changed.pop("what we changed ourselves")) == 8
    assert changed == {room: [] for room in ROOMS}
