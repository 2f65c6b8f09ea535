"""Run the published notebooks as a stranger would: Colab's packages, an empty folder, no checkout.

``python tools/clean_room.py`` (``make clean-room``) makes a virtual environment with the versions
of ``tools/colab_freeze.txt``, builds a wheel of the book's package, and runs each notebook of
``_build/colab`` from an empty folder with an empty home. The setup cell runs as it stands, except
that it installs the wheel instead of the repository; stored results come from a server on this
machine that answers as the repository's does. It fails if a notebook fails, if pip would change
any package of Colab's, or if more than 20 seconds of CPU time pass before the first figure. What is
printed otherwise than in the stored outputs is listed: other versions of torch may round otherwise.
Pictures are not compared, other versions of matplotlib draw otherwise.

What it measures goes into ``tools/clean_room.json`` (``--store``), which the status page shows.
"""

from __future__ import annotations

import argparse
import http.server
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import nbformat
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools import colab_freeze  # noqa: E402  (the folder above is where it is found)
from tools.nbval_tolerance import PICTURES, close  # noqa: E402
from tools.notebooks import KERNEL_ENV, WIDGET_VIEW, repository  # noqa: E402

NOTEBOOKS = ROOT / "_build" / "colab"
RECORD = ROOT / "tools" / "clean_room.json"
FIRST_FIGURE = 20.0  # CPU seconds, at most, the installation included
RUNNER = """
import json, os, re, sys, time
import nbformat, nbclient

path = sys.argv[1]
nb = nbformat.read(path, 4)
shows = ("image/", "kx-explorer", "<img", "widget-view")
done = {}

def used():  # CPU seconds of the kernel and of what it started and waited for
    with open(f"/proc/{client.km.provisioner.pid}/stat") as stat:
        ticks = map(int, stat.read().rpartition(")")[2].split()[11:15])
    return sum(ticks) / os.sysconf("SC_CLK_TCK")

def executed(cell, cell_index, execute_reply):
    done["cpu_seconds"] = round(used(), 1)
    shown = json.dumps([dict(o.get("data", {})) for o in cell.outputs])
    if "first_figure" not in done and any(s in shown for s in shows):
        done["first_figure"] = done["cpu_seconds"]

client = nbclient.NotebookClient(nb, timeout=900, kernel_name="python3", on_cell_executed=executed)
start = time.monotonic()
try:
    client.execute()
except nbclient.exceptions.CellExecutionError as error:
    done["error"] = re.sub(r"\\x1b\\[[0-9;]*m", "", str(error))[-3000:]
done["seconds"] = round(time.monotonic() - start, 1)
nbformat.write(nb, path)
print("\\n@@" + json.dumps(done))
"""


class Repository(http.server.BaseHTTPRequestHandler):
    """Answers as the repository does: ``/raw/<revision>/book/artifacts/...`` is that file."""

    def do_GET(self) -> None:
        """Send the file, or 404."""
        asked = re.fullmatch(r"/raw/[\w.-]+/(book/artifacts/[\w./-]+)", self.path)
        path = (ROOT / asked[1]).resolve() if asked else ROOT
        inside = path.is_relative_to(ROOT / "book" / "artifacts") and path.is_file()
        content = path.read_bytes() if inside else b"not here"
        self.send_response(200 if inside else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


def build_wheel(address: str, folder: Path) -> Path:
    """Build a wheel of the package whose repository is at ``address``; return its path."""
    files = ["pyproject.toml", "README.md", "LICENSE", "kexue"]
    source = folder / "source"
    source.mkdir()
    for name in files:
        kind = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        kind(ROOT / name, source / name)
    runtime = source / "kexue" / "runtime.py"
    text = runtime.read_text(encoding="utf-8")
    line = f'REPOSITORY = "{repository()}"'
    assert line in text, "runtime.py names another repository: make set-repository"
    runtime.write_text(text.replace(line, f'REPOSITORY = "{address}"'), encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "-w", str(folder), str(source)], check=True)
    return next(folder.glob("kexue-*.whl"))


def imported() -> list[str]:
    """Return what the notebooks import of Colab's packages, by the name that pip knows."""
    code = ""
    for path in NOTEBOOKS.rglob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        code += "\n".join(c.source for c in cells if c.cell_type == "code") + "\n"
    modules = set(re.findall(r"^\s*(?:import|from) (\w+)", code, re.MULTILINE))
    known, colab = metadata.packages_distributions(), colab_freeze.read().packages
    names = {canonicalize_name(n) for module in modules for n in known.get(module, [])}
    return sorted(names & colab.keys())


def make_venv(folder: Path, python: str) -> Path:
    """Make the environment, if it is not there; return its interpreter.

    It holds what the book needs, what the notebooks import and all that these need, in Colab's
    versions: the rest of Colab's packages play no part. Torch's build is the one that the package
    index has; what a build for CUDA brings along is its own.
    """
    inside = folder / "bin" / "python"
    names = sorted({Requirement(r).name for r in colab_freeze.asked()} - {"python"})
    names += ["ipython", "ipykernel", "jupyter_client", "nbclient", "nbformat", *imported()]
    if not inside.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
    pins = [
        f"{name}=={version}\n"
        for name, version in colab_freeze.read().packages.items()
        if not name.startswith(("cuda", "nvidia", "triton"))
    ]
    constraints = folder / "constraints.txt"
    constraints.write_text("".join(pins), encoding="utf-8")
    install = [str(inside), "-m", "pip", "install", "-q", "-c", str(constraints), *names]
    subprocess.run(install, check=True)
    uninstall(inside)
    return inside


def uninstall(python: Path) -> None:
    """Remove the book's package, which the setup cell is to install."""
    subprocess.run([python, "-m", "pip", "uninstall", "-qq", "-y", "kexue"], check=True)


def frozen(python: Path) -> dict[str, str]:
    """Return what is installed."""
    listed = subprocess.check_output([python, "-m", "pip", "freeze", "--all"], text=True)
    return colab_freeze.packages(listed)


def would_install(python: Path, wheel: Path) -> list[str]:
    """Return what pip would install, besides the wheel, to satisfy it."""
    command = [python, "-m", "pip", "install", "-q", "--dry-run", "--report", "-", str(wheel)]
    report = json.loads(subprocess.check_output(command, text=True))
    found = [item["metadata"] for item in report["install"]]
    return [f"{m['name']} {m['version']}" for m in found if m["name"] != "kexue"]


def run(python: Path, path: Path, wheel: Path, scratch: Path) -> tuple[dict, list[str]]:
    """Run a notebook as a stranger would; return what it took and which outputs differ."""
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "home").mkdir(parents=True)
    (scratch / "empty").mkdir()
    stored = nbformat.read(path, as_version=4)
    nb = nbformat.read(path, as_version=4)
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            if "setup" in cell.metadata.get("tags", []):
                assert f'"git+{repository()}"' in cell.source, "the setup cell is not the book's"
                cell.source = cell.source.replace(f'"git+{repository()}"', f'"{wheel}"')
    copy = scratch / "empty" / path.name
    nbformat.write(nb, copy)
    uninstall(python)
    environment = {
        **KERNEL_ENV,
        "HOME": str(scratch / "home"),
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "KEXUE_EXPLORE": "live",  # as on Colab, where the kernel answers
        "PIP_NO_INDEX": "1",  # all that it needs is there
    }
    done = subprocess.run(
        [python, "-c", RUNNER, copy.name],
        cwd=copy.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if "\n@@" not in done.stdout:
        return {"error": done.stderr[-3000:]}, []
    took = json.loads(done.stdout.rpartition("\n@@")[2])
    made = nbformat.read(copy, as_version=4)
    return took, differences(stored, made) if "error" not in took else []


def differences(stored: nbformat.NotebookNode, made: nbformat.NotebookNode) -> list[str]:
    """Return the cells whose outputs say something else, by their first line."""
    found = []
    for before, after in zip(stored.cells, made.cells, strict=True):
        tags = before.metadata.get("tags", [])
        if before.cell_type != "code" or {"setup", "nbval-ignore-output"} & set(tags):
            continue
        old, new = texts(before), texts(after)
        if len(old) != len(new) or not all(map(close, old, new)):
            found.append(before.source.partition("\n")[0][:70])
    return found


def texts(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell printed and showed, without pictures and without what only a kernel can show."""
    printed = "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
    shown = [o.data for o in cell.outputs if "data" in o]
    kept = [d for d in shown if not set(PICTURES) & set(d)]
    kept = [d for d in kept if "text/html" in d or WIDGET_VIEW not in d]  # explorers that are live
    said = [d.get("text/html") or d.get("text/plain", "") for d in kept]
    return [printed, *(text for text in said if "kx-explorer" not in text)]


def published(folder: Path, only: list[str]) -> list[Path]:
    """The notebooks that ``make colab`` wrote into a folder, or those of them with these slugs."""
    paths = [p for p in sorted(folder.rglob("*.ipynb")) if p.parent.name[0] != "."]
    paths = [p for p in paths if not only or p.stem in only]
    if not paths:
        raise SystemExit(f"{folder} holds no such notebook: run make colab")
    return paths


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if a stranger gets through every notebook."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="slugs (default: every notebook)")
    parser.add_argument("--venv", type=Path, help="keep the environment here for next time")
    parser.add_argument("--python", default=shutil.which("python3.13") or sys.executable)
    parser.add_argument("--store", action="store_true", help=f"write {RECORD.name}")
    options = parser.parse_args(arguments)
    paths = published(NOTEBOOKS, options.only)
    faults, record = [], {}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build_wheel(f"http://127.0.0.1:{server.server_port}", folder)
        python = make_venv(options.venv or folder / "colab", options.python)
        before = frozen(python)
        colab = colab_freeze.read()
        own = ("cuda", "nvidia", "triton", "pip")  # what make_venv leaves to torch and to venv
        other = {n: v for n, v in before.items() if colab.packages.get(n, v) != v}
        other = {n: v for n, v in other.items() if not n.startswith(own)}
        faults += [f"{n} is {v}, Colab has {colab.packages[n]}" for n, v in other.items()]
        faults += [f"pip would install {what}" for what in would_install(python, wheel)]
        version = subprocess.check_output([python, "-V"], text=True).split()[1]
        torch = subprocess.check_output([python, "-c", "import torch; print(torch.__version__)"])
        versions = {"python": version, "torch": torch.decode().strip()}
        print(f"Python {version} (Colab: {colab.python}), torch {versions['torch']}", flush=True)
        for path in paths:
            took, differs = run(python, path, wheel, folder / "stranger")
            slug = path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
            if "error" in took:
                faults.append(f"{slug}: {took['error']}")
                continue
            first = took.get("first_figure")
            said = f"first figure after {first:.1f} s of it" if first else "no figure"
            spent = f"{took['cpu_seconds']:.0f} s of CPU time ({took['seconds']:.0f} s)"
            print(f"{slug}: {spent}, {said}, {len(differs)} outputs differ")
            print("".join(f"    {line}\n" for line in differs), end="", flush=True)
            if first and first > FIRST_FIGURE:
                faults.append(f"{slug}: the first figure takes {first:.1f} s")
            record[slug] = {
                "seconds": took["seconds"],
                "cpu_seconds": took["cpu_seconds"],
                "first_figure": first,
                "outputs_differ": len(differs),
                "date": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
                **versions,
            }
        after = frozen(python)
        changed = {n for n in before.keys() | after.keys() if before.get(n) != after.get(n)}
        faults += [f"{n} was changed by a notebook" for n in changed - {"kexue"}]
    server.shutdown()
    if options.store:
        stored = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
        stored = {**stored.get("notebooks", {}), **record}
        text = json.dumps({"set": colab.date, "notebooks": stored}, indent=1, sort_keys=True)
        RECORD.write_text(text + "\n", encoding="utf-8")
    print("\n".join(faults) or "A stranger gets through.", flush=True)
    return bool(faults) and 1


if __name__ == "__main__":
    sys.exit(main())
