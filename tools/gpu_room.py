"""Run the published notebooks on the GPU that is here: the full preset, under its own torch.

``python tools/gpu_room.py`` (``make gpu-room``) builds a wheel of the book's package, puts it,
without what it depends on, into a folder of its own, and runs each notebook of ``_build/colab``
from an empty folder as Colab would: with two CPU cores, nothing else is installed or replaced,
stored results come from a server on this machine. It fails if a notebook fails, or if the cells
that use the GPU take more than five minutes. ``--store`` keeps what was measured in
``tools/gpu_room.json``, notebook by notebook, which the run lines and the status page show.

``--t4`` rehearses a T4, the GPU that Colab gives away, on a larger one: at most 15 GB, float16
(torch is told compute capability 7.5), no flash attention, no TF32, nothing compiled. What a T4
itself would take is then estimated, and said to be an estimate:

    T4 seconds = busy * (bandwidth of this GPU / bandwidth of a T4) + (seconds - busy) * 2

``busy`` are the seconds in which the GPU computed (nvidia-smi's utilization, summed over time; 0 if
no cell used it); networks as small as the book's are bound by memory, so they scale with its
bandwidth. The rest is Python, launches and arithmetic on the CPU, and 2 is our guess for the slower
cores of Colab's.
"""

from __future__ import annotations

import argparse
import http.server
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kexue import _run_card, runtime  # noqa: E402  (the folder above is where it is found)
from tools.clean_room import NOTEBOOKS, Repository, build_wheel, published  # noqa: E402

RECORD = ROOT / "tools" / "gpu_room.json"
LONGEST = 300.0  # seconds of the cells that use the GPU, at most
SHOWN = 1.0  # seconds of a cell from which on the record names it
CORES = 2  # as many as Colab gives
# GB/s of the data sheets (H100 and H200: SXM), and how much slower a core of Colab's is taken to be
BANDWIDTH = {"H100": 3350, "H200": 4800, "A100": 2039, "L4": 300, "T4": 320}
SLOWER_CORE = 2.0
ENVIRONMENT = {
    "KEXUE_QUIET": "1",
    "KEXUE_EXPLORE": "live",  # as on Colab, where the kernel answers
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTHONHASHSEED": "0",
}
T4 = """\
if torch.cuda.is_available():
    held = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 15e9 / held))
    torch.cuda.get_device_capability = lambda device=None: (7, 5)
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
"""
# Run before the first cell, and after each: when it ended, what it held on the GPU, if anything.
START = """\
import json as _json, time as _time
import torch
{limits}
def _taken(before=[0]):
    used, peak = False, 0.0
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
        count = torch.cuda.memory_stats().get("allocated_bytes.all.allocated", 0)
        used, before[0] = count > before[0] + 1e6, count  # to ask for the device takes 512 bytes
        peak = torch.cuda.max_memory_allocated() / 1e6
        torch.cuda.reset_peak_memory_stats()
    print(_json.dumps({{"at": _time.monotonic(), "gpu": used, "peak": round(peak, 1)}}))
_taken()"""
END = """\
import platform
from kexue import runtime
print(_json.dumps({
    "precision": str(runtime.precision()).removeprefix("torch."),
    "preset": runtime.preset("quick", "full"), "threads": torch.get_num_threads(),
    "torch": torch.__version__, "python": platform.python_version(),
    "cuda": torch.version.cuda if runtime.device().type == "cuda" else None,
}))"""


@contextmanager
def installed(folder: Path) -> Iterator[Path]:
    """A folder with the book's package from a wheel, whose stored results are served meanwhile."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Repository)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        wheel = build_wheel(f"http://127.0.0.1:{server.server_port}", folder)
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-compile"]
        subprocess.run([*pip, "--target", str(folder / "site"), str(wheel)], check=True)
        yield folder / "site"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def utilization(every: float = 0.2) -> Iterator[list[float]]:
    """Watch the GPU: shares of time in which it computed; stays empty without nvidia-smi."""
    seen: list[float] = []
    ask = ["nvidia-smi", "-i", "0", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    try:
        smi = subprocess.Popen(
            [*ask, f"-lms={1000 * every:.0f}"], stdout=subprocess.PIPE, text=True
        )
    except OSError:
        yield seen
        return

    def read() -> None:
        for text in smi.stdout:
            if text.strip().isdigit():
                seen.append(int(text) / 100)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield seen
    finally:
        smi.terminate()
        reader.join()
        smi.stdout.close()
        smi.wait()


@contextmanager
def cores(most: int = CORES) -> Iterator[None]:
    """Let what is started meanwhile, and all its threads, use so many CPU cores at most."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[:most])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def with_probes(nb: NotebookNode, t4: bool) -> NotebookNode:
    """The notebook without outputs, a probe before its first code cell and after each."""
    code = nbformat.v4.new_code_cell
    cells = [code(START.format(limits=T4 if t4 else ""))]
    for cell in nb.cells:
        if cell.cell_type == "code":
            cells += [code(cell.source, id=cell.id), code("_taken()")]
    return nbformat.v4.new_notebook(cells=[*cells, code(END)])


def run(path: Path, site: Path, scratch: Path, preset: str, t4: bool) -> dict:
    """Run a notebook in an empty folder; return its record, or ``{"error": ...}``."""
    import nbclient

    nb = with_probes(nbformat.read(path, as_version=4), t4)
    empty = Path(tempfile.mkdtemp(dir=scratch))
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **ENVIRONMENT, "KEXUE_PRESET": preset}
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "TORCH_HOME": str(scratch / "torch")}
    environment |= {"TORCHDYNAMO_DISABLE": "1"} if t4 else {}
    client = nbclient.NotebookClient(
        nb,
        timeout=900,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": str(empty)}},
    )
    start = time.monotonic()
    with utilization() as seen, cores():
        try:
            client.execute(env=environment)
        except nbclient.exceptions.CellExecutionError as error:
            return {"error": re.sub(r"\x1b\[[0-9;]*m", "", str(error))[-3000:]}
    seconds = time.monotonic() - start
    return record(nb, seconds, sum(seen) / len(seen) * seconds if seen else None)


def record(nb: NotebookNode, seconds: float, busy: float | None) -> dict:
    """What the probes of a notebook printed, added up."""

    def said(cell: NotebookNode) -> dict:
        printed = "".join(o.text for o in cell.outputs if o.get("name") == "stdout")
        return json.loads(printed.splitlines()[-1])

    *cells, end = nb.cells
    before, cells, probes = said(cells[0]), cells[1::2], map(said, cells[2::2])
    took, on_gpu, peak, named = 0.0, 0.0, 0.0, {}
    for cell, after in zip(cells, probes, strict=True):
        took, before = after["at"] - before["at"], after
        on_gpu += took * after["gpu"]
        peak = max(peak, after["peak"])
        if took >= SHOWN or after["gpu"]:
            named[cell.id] = [round(took, 1), after["peak"]]
    busy = busy if on_gpu else 0.0  # then others did what nvidia-smi saw
    return {
        "seconds": round(seconds, 1),
        "gpu_seconds": round(on_gpu, 1),
        "busy_seconds": None if busy is None else round(busy, 1),
        "peak_memory_mb": peak,
        "cells": named,
        **said(end),
    }


def t4_seconds(rehearsal: dict) -> int | None:
    """The estimate that the head of this file states; None on a GPU of unknown bandwidth.

    Where nvidia-smi did not say how busy the GPU was, all of its cells count.

    >>> rehearsal = {"device": "NVIDIA H100 80GB HBM3", "seconds": 70.0, "busy_seconds": 10.0}
    >>> t4_seconds(rehearsal)  # 10 * 3350 / 320 + 60 * 2
    225
    """
    known = [b for name, b in BANDWIDTH.items() if re.search(rf"\b{name}\b", rehearsal["device"])]
    if not known:
        return None
    busy = rehearsal.get("busy_seconds")
    busy = rehearsal["gpu_seconds"] if busy is None else busy
    rest = (rehearsal["seconds"] - busy) * SLOWER_CORE
    return round(busy * known[0] / BANDWIDTH["T4"] + rest)


def keep(slug: str, kind: str, found: dict) -> None:
    """Write what was found into the record, beside what is there."""
    stored = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {}
    stored.setdefault("notebooks", {}).setdefault(slug, {})[kind] = found
    text = json.dumps(stored, indent=1, sort_keys=True)
    _run_card.write(RECORD, f"{text}\n".encode())


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if every notebook ran, its GPU part in time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="slugs (default: every notebook)")
    parser.add_argument("--t4", action="store_true", help="with the limits of a T4")
    parser.add_argument("--preset", choices=("full", "quick"), default="full")
    parser.add_argument("--store", action="store_true", help=f"write {RECORD.name}")
    options = parser.parse_args(arguments)
    paths = published(NOTEBOOKS, options.only)
    where = runtime.device()
    if where.type != "cuda" and (options.store or options.preset == "full"):
        raise SystemExit("no GPU here: --preset quick, without --store, tries this tool on a CPU")
    about = runtime.run_card(seed=0, seconds=0, preset=options.preset)
    faults = []
    with tempfile.TemporaryDirectory() as name, installed(Path(name)) as site:
        for path in paths:
            found = run(path, site, Path(name), options.preset, options.t4)
            slug = path.relative_to(NOTEBOOKS).with_suffix("").as_posix()
            if "error" in found:
                faults.append(f"{slug}: {found['error']}")
                continue
            date = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            found |= {"device": about.device, "driver": about.driver, "date": date}
            found |= {"revision": about.revision, "dirty": about.dirty}
            estimate = t4_seconds(found) if options.t4 else None
            found |= {"t4_seconds": estimate} if options.t4 else {}
            busy = "unknown" if found["busy_seconds"] is None else f"{found['busy_seconds']} s"
            print(
                f"{slug}: {found['seconds']} s, {found['gpu_seconds']} s of it in cells that use "
                f"the GPU (busy: {busy}), {found['peak_memory_mb']:,.0f} MB, {found['precision']}"
                + (f"; on a T4 about {estimate} s (estimate)" if estimate else ""),
                *(f"    {cell}: {s} s, {mb:,.0f} MB" for cell, (s, mb) in found["cells"].items()),
                sep="\n",
                flush=True,
            )
            if found["gpu_seconds"] > LONGEST:
                faults.append(f"{slug}: its GPU part takes {found['gpu_seconds']} s")
            if options.store:
                keep(slug, "t4" if options.t4 else "full", found)
    print("\n".join(faults) or "All ran.", flush=True)
    return bool(faults) and 1


if __name__ == "__main__":
    sys.exit(main())
