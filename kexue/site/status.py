"""What it takes to run each notebook: the run line of a chapter and the page of them all.

Executes nothing and measures nothing. CPU figures come from ``metadata.kexue.run`` of a notebook,
where ``make notebooks`` stored them when it ran it; the others from the run cards of the artifacts
that the notebook reads, from what ``make clean-room`` stored of Colab's packages, and from what
``make gpu-room`` stored of the full preset on a GPU. A notebook without a record says so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from kexue.site.fresh import differs
from kexue.site.ledger import line, link_to, order

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

USES = re.compile(r"\bartifact\(\s*[\"']([\w.-]+)[\"']")
RUN_ROW = "| Runs in |"  # the row of a chapter's head table that is written from the records


class status_table(nodes.General, nodes.Element):
    """Stands where the tables of all notebooks and of all stored results will be."""


class StatusTable(SphinxDirective):
    """``{status-table}``: what it takes to run each notebook, and what made each stored result."""

    def run(self) -> list[nodes.Node]:
        """Note which page holds the tables and leave a place for them."""
        pages(self.env).add(self.env.docname)
        return [status_table()]


def pages(env: BuildEnvironment) -> set[str]:
    """The pages that hold the tables."""
    if not hasattr(env, "kexue_status"):
        env.kexue_status = set()
    return env.kexue_status


def run_of(notebook: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a notebook's last execution took, or None if that was not stored."""
    return notebook["metadata"].get("kexue", {}).get("run")


def artifacts_of(notebook: Mapping[str, Any], slug: str, shelf: Path) -> list[str]:
    """The artifacts of a chapter, by name: its own first, then the others that its code reads."""
    code = "\n".join("".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code")
    names = dict.fromkeys([slug, *USES.findall(code)])
    return [name for name in names if (shelf / name / "card.json").is_file()]


def cards(shelf: Path, names: Iterable[str]) -> list[dict[str, Any]]:
    """The run cards of these artifacts."""
    return [json.loads((shelf / n / "card.json").read_text(encoding="utf-8")) for n in names]


def size(megabytes: float | None) -> str:
    """Memory in words.

    >>> size(483.1), size(15226.0), size(None)
    ('0.48 GB', '15.2 GB', 'memory not measured')
    """
    if megabytes is None:
        return "memory not measured"
    return f"{megabytes / 1000:.{1 if megabytes >= 999.5 else 2}f} GB"


def versions(record: Mapping[str, Any]) -> str:
    """Python, torch and CUDA of a record or card.

    >>> versions({"python": "3.12.3", "torch": "2.11.0+cu130", "cuda": "13.0"})
    'torch 2.11.0, CUDA 13.0, Python 3.12.3'
    """
    torch = [f"torch {record['torch'].partition('+')[0]}"] if record.get("torch") else []
    cuda = [f"CUDA {record['cuda']}"] if record.get("cuda") else []
    return ", ".join([*torch, *cuda, f"Python {record['python']}"])


def device(record: Mapping[str, Any]) -> str:
    """The device of a record or card, as one says it.

    >>> device({"device": "NVIDIA H200"}), device({"device": "2 × NVIDIA H200"})
    ('one NVIDIA H200', '2 × NVIDIA H200')
    >>> device({"device": "CPU (x86_64), 2 thread(s)"})
    'a CPU (x86_64), 2 threads'
    """
    name = record["device"].replace(" 1 thread(s)", " 1 thread").replace("thread(s)", "threads")
    name = name.replace("CPU (", "a CPU (", 1)
    return name if re.match(r"a CPU|\d+ × ", name) else f"one {name}"


def tried(path: Path, page: str) -> dict[str, Any]:
    """What the record at ``path`` says of a notebook of the book, by its name with folders."""
    notebooks = json.loads(path.read_text(encoding="utf-8"))["notebooks"] if path.is_file() else {}
    return next((found for slug, found in notebooks.items() if f"/{page}".endswith(f"/{slug}")), {})


def full_preset(tried: Mapping[str, Any]) -> list[str]:
    """What the full preset took on a GPU, and what it may take on a T4.

    >>> took = {"device": "NVIDIA H100 80GB HBM3", "seconds": 92.3, "gpu_seconds": 40.1,
    ...         "peak_memory_mb": 420.0}
    >>> for part in full_preset({"full": took, "t4": took | {"t4_seconds": 177}}):
    ...     print(part)
    92 s on one NVIDIA H100 80GB HBM3, 40 s of it with the GPU, 0.42 GB
    about 180 s on a T4 (estimate, not measured)
    """
    said, full = [], tried.get("full")
    if full:
        used = f"{full['gpu_seconds']:.0f} s of it with the GPU, {size(full['peak_memory_mb'])}"
        used = used if full["peak_memory_mb"] else "which it does not use"
        said.append(f"{full['seconds']:.0f} s on {device(full)}, {used}")
    estimate = tried.get("t4", {}).get("t4_seconds")
    if estimate:
        said.append(f"about {10 * max(1, round(estimate / 10))} s on a T4 (estimate, not measured)")
    return said


def run_line(
    run: Mapping[str, Any] | None,
    made: Iterable[Mapping[str, Any]],
    gpu: Mapping[str, Any] | None = None,
) -> str:
    """One line: what the notebook took on a CPU, on a GPU, and what its stored results took.

    Parameters
    ----------
    run : the notebook's record (:func:`run_of`).
    made : run cards of the artifacts that it shows.
    gpu : what :func:`tried` says of it on a GPU.

    >>> run = {"cpu_seconds": 71.6, "peak_memory_mb": 913.0, "preset": "quick", "python": "3.11.7",
    ...        "device": "CPU (x86_64), 1 thread", "torch": "2.13.0+cpu", "date": "2026-11-22"}
    >>> run_line(run, [])
    '72 s of CPU time, 0.91 GB with the quick preset (torch 2.13.0, Python 3.11.7, 2026-11-22)'
    """
    parts = ["not measured yet"]
    if run:
        parts = [
            f"{run['cpu_seconds']:.0f} s of CPU time, {size(run['peak_memory_mb'])} with the "
            f"{run['preset']} preset ({versions(run)}, {run['date'][:10]})"
        ]
    if said := full_preset(gpu or {}):
        when = [f" ({versions(f)}, {f['date'][:10]})" for f in [gpu.get("full")] if f]
        parts.append("; ".join(["the full preset: " + said[0] + "".join(when), *said[1:]]))
    parts += [
        f"results stored from {device(c)}: {c['seconds']:,.0f} s, {size(c['peak_memory_mb'])} "
        f"({versions(c)}, {c['date'][:10]})"
        for c in made
    ]
    return "; ".join(parts)


def state_run(
    notebook: Mapping[str, Any], slug: str, shelf: Path, gpu: Mapping[str, Any] | None = None
) -> None:
    """Write the run line into the head table of a chapter, in place, where it has such a row."""
    for cell in notebook["cells"]:
        if cell["cell_type"] != "markdown" or RUN_ROW not in cell["source"]:
            continue
        said = run_line(run_of(notebook), cards(shelf, artifacts_of(notebook, slug, shelf)), gpu)
        rows = cell["source"].split("\n")
        cell["source"] = "\n".join(
            f"{RUN_ROW} {said} |" if row.startswith(RUN_ROW) else row for row in rows
        )


class FillStatus(SphinxPostTransform):
    """Put the tables in their place, in the order of the book."""

    default_priority = 5  # before references are resolved, at 10

    def run(self, **kwargs: Any) -> None:
        """Replace each placeholder of the page."""
        for node in list(self.document.findall(status_table)):
            shelf = Path(self.env.srcdir) / self.env.config.kexue_artifacts
            node.replace_self(tables(self.env, self.env.docname, shelf))


def tables(env: BuildEnvironment, here: str, shelf: Path) -> list[nodes.Node]:
    """A row a notebook; then a row a run card."""
    root, rows = Path(env.srcdir), []
    clean, gpu = root / env.config.kexue_clean_room, root / env.config.kexue_gpu_room
    for page in order(env):
        path = Path(env.doc2path(page))
        if path.suffix == ".ipynb":
            notebook = json.loads(path.read_text(encoding="utf-8"))
            on_gpu, colab = full_preset(tried(gpu, page)), tried(clean, page)
            rows.append(
                [
                    [line(link_to(page, env, here))],
                    said_of(run_of(notebook), "not measured"),
                    said_of(colab, "not tried with Colab's packages"),
                    [line(text) for text in on_gpu] or [line("not tried on a GPU")],
                    made_by(shelf, artifacts_of(notebook, path.stem, shelf)),
                ]
            )
    head = ["Notebook", "Quick preset, on a CPU", "With Colab's packages"]
    head += ["Full preset, on a GPU", "Stored results"]
    found: list[nodes.Node] = [table("Notebooks", head, (17, 19, 22, 20, 22), rows)]
    rows = []
    for path in sorted(shelf.glob("*/*card.json"), key=lambda p: (p.parent.name, p.name)):
        card = json.loads(path.read_text(encoding="utf-8"))
        name = path.parent.name if path.name == "card.json" else f"{path.parent.name}, {path.stem}"
        run = f"{card['precision']}, {card['preset']} preset, seed {card['seed']}"
        rows.append(
            [
                [line(nodes.literal("", name))],
                [line(f"{card['seconds']:,.0f} s, {size(card['peak_memory_mb'])}")],
                [line(device(card))],
                [line(run), line(f"{versions(card)}, {card['date'][:10]}")],
            ]
        )
    head = ["Artifact", "Time and memory", "Device", "Made with"]
    return [*found, table("Stored results", head, (25, 18, 25, 32), rows)]


def said_of(run: Mapping[str, Any] | None, otherwise: str) -> list[nodes.paragraph]:
    """What a record says: time and memory or first figure, then with what and when."""
    if not run:
        return [line(otherwise)]
    took = [f"{run['cpu_seconds']:.0f} s of CPU time"]
    if "peak_memory_mb" in run:
        took.append(size(run["peak_memory_mb"]))
    if run.get("first_figure"):
        took.append(f"{run['first_figure']:.0f} s to the first figure")
    return [line(", ".join(took)), line(f"{versions(run)}, {run['date'][:10]}")]


def made_by(shelf: Path, names: list[str]) -> list[nodes.paragraph]:
    """What the artifacts of a notebook took."""
    made = zip(names, cards(shelf, names), strict=True)
    return [
        line(
            nodes.literal("", name),
            f": {c['seconds']:,.0f} s, {size(c['peak_memory_mb'])}, {device(c)}",
        )
        for name, c in made
    ] or [line("no stored results")]


def table(
    title: str, head: list[str], widths: Iterable[int], rows: list[list[list[nodes.Node]]]
) -> nodes.table:
    """A table with a title, in the style of the ledger's."""
    anchor = "status-" + re.sub(r"\W+", "-", title.lower())
    made = nodes.table("", nodes.title("", title), ids=[anchor])
    made["classes"] += ["kx-ledger", "kx-labeled", "colwidths-given"]
    group = nodes.tgroup(cols=len(head))
    group += [nodes.colspec(colwidth=width) for width in widths]
    group += nodes.thead("", nodes.row("", *(nodes.entry("", line(text)) for text in head)))
    group += nodes.tbody(
        "", *(nodes.row("", *(nodes.entry("", *cell) for cell in row)) for row in rows)
    )
    made += group
    return made


def outdated(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The page depends on every notebook and every card: write it again when one changed."""
    pages(env).intersection_update(env.found_docs)
    shelf = Path(env.srcdir) / env.config.kexue_artifacts
    changed = bool(pages(env)) and differs(env, "status", tables(env, env.config.root_doc, shelf))
    return sorted(pages(env)) if changed else []


def merge(app: Sphinx, env: BuildEnvironment, read: set[str], other: BuildEnvironment) -> None:
    """Take over what a parallel reader found."""
    pages(env).update(pages(other) & set(read))


def setup(app: Sphinx) -> None:
    """Register the ``{status-table}`` directive."""
    app.add_config_value("kexue_artifacts", "book/artifacts", "env")
    app.add_config_value("kexue_clean_room", "tools/clean_room.json", "env")
    app.add_config_value("kexue_gpu_room", "tools/gpu_room.json", "env")
    app.add_node(status_table)
    app.add_directive("status-table", StatusTable)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", outdated)
    app.add_post_transform(FillStatus)
