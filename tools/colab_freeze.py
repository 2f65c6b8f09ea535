"""The packages that Colab has, as one dated file, and what the book asks of them.

``python tools/colab_freeze.py`` fetches the list that Colab publishes
(https://github.com/googlecolab/backend-info) into ``tools/colab_freeze.txt``; ``--source FOLDER``
reads it from a checkout instead. The tests fail if anything in ``pyproject.toml`` would make pip
change a package of that list; ``make clean-room`` runs the published notebooks under it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
FILE = ROOT / "tools" / "colab_freeze.txt"
RAW = "https://raw.githubusercontent.com/googlecolab/backend-info/main/"
COMMITS = "https://api.github.com/repos/googlecolab/backend-info/commits?path=pip-freeze.txt"
HEAD = """\
# The packages of a Colab runtime: googlecolab/backend-info {commit} ({date}).
# Python {python}
# Written by tools/colab_freeze.py. A package that Colab installs from an address stands with its
# version alone; one without a version in its address is left out.
"""


@dataclass(frozen=True)
class Freeze:
    """What the file holds: the packages with their versions, Colab's Python, the list's date."""

    packages: dict[str, str]
    python: str
    date: str


def read(path: Path = FILE) -> Freeze:
    """Return the stored set."""
    text = path.read_text(encoding="utf-8")
    date = re.search(r"backend-info \w+ \(([\d-]+)\)", text)
    python = re.search(r"^# Python ([\d.]+)$", text, re.MULTILINE)
    if not date or not python:
        raise ValueError(f"{path}: needs a head that names the date and Python")
    return Freeze(packages(text), python[1], date[1])


def packages(text: str) -> dict[str, str]:
    """Return name and version of every line of ``pip freeze``.

    >>> packages("A_b==1.0\\n# c\\ntorch @ https://x/torch-2.11.0%2Bcpu-cp313-linux.whl\\nd @ x")
    {'a-b': '1.0', 'torch': '2.11.0'}
    """
    found = {}
    for line in text.splitlines():
        if pinned := re.fullmatch(r"([\w.-]+)==([\w.!+-]+)", line.strip()):
            found[canonicalize_name(pinned[1])] = pinned[2].partition("+")[0]
        elif placed := re.match(r"([\w.-]+) @ \S*/[\w.]+-(\d[\w.]*)(?:%2B\w+)?[-.]\S*", line):
            found[canonicalize_name(placed[1])] = placed[2].removesuffix(".tar")
    return found


def changes(requirements: list[str], freeze: Freeze) -> list[str]:
    """Return what these requirements would make pip install or change in the set, in words.

    >>> freeze = Freeze({"torch": "2.11.0"}, "3.13.15", "2026-08-19")
    >>> changes(["torch>=2.4"], freeze)
    []
    >>> changes(["torch>=2.12", "zuko", "x; python_version < '3'"], freeze)
    ['torch>=2.12: Colab has 2.11.0', 'zuko: Colab has none']
    """
    wrong = []
    for requirement in map(Requirement, requirements):
        if requirement.marker and not requirement.marker.evaluate(
            {"python_version": freeze.python}
        ):
            continue
        version = freeze.packages.get(canonicalize_name(requirement.name))
        if version is None:
            wrong.append(f"{requirement}: Colab has none")
        elif not requirement.specifier.contains(Version(version), prereleases=True):
            wrong.append(f"{requirement}: Colab has {version}")
    return wrong


def asked() -> list[str]:
    """Return what the package requires, from ``pyproject.toml``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], f"python{project['requires-python']}"]


def fetched(source: Path | None) -> str:
    """Return the file's new content, from the network or from a checkout."""
    if source:
        git = ["git", "-C", str(source)]
        head = subprocess.check_output([*git, "rev-list", "--all", "-1"], text=True).strip()
        date = subprocess.check_output(
            [*git, "show", "-s", "--format=%cs", head], text=True
        ).strip()
        freeze, system = (
            subprocess.check_output([*git, "show", f"{head}:{name}"], text=True)
            for name in ("pip-freeze.txt", "os-info.txt")
        )
    else:
        commit = json.loads(download(COMMITS + "&per_page=1"))[0]
        head, date = commit["sha"], commit["commit"]["committer"]["date"][:10]
        freeze, system = download(RAW + "pip-freeze.txt"), download(RAW + "os-info.txt")
    python = re.search(r"Python ([\d.]+)", system)
    listed = packages(freeze)
    if python is None or "torch" not in listed:
        raise ValueError("backend-info: needs a Python version and torch in its lists")
    lines = [f"{name}=={version}\n" for name, version in sorted(listed.items())]
    return HEAD.format(commit=head[:7], date=date, python=python[1]) + "".join(lines)


def download(url: str) -> str:
    """Return what an address holds."""
    with urllib.request.urlopen(url, timeout=60) as response:
        return response.read().decode()


def main(arguments: list[str] | None = None) -> int:
    """Write the new set, say what changed among what the book asks; return 1 if it does not fit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, help="a checkout of backend-info")
    parser.add_argument("--out", type=Path, default=FILE)
    options = parser.parse_args(arguments)
    try:
        text = fetched(options.source)
    except OSError as error:
        raise SystemExit(f"the list could not be fetched, the stored one stays ({error})") from None
    before = read(options.out).packages if options.out.is_file() else {}
    options.out.write_text(text, encoding="utf-8")
    freeze = read(options.out)
    print(f"Colab on {freeze.date}: Python {freeze.python}, {len(freeze.packages)} packages")
    for name in sorted({canonicalize_name(Requirement(r).name) for r in asked()} - {"python"}):
        old, new = before.get(name), freeze.packages.get(name)
        print(f"  {name} {new}" + (f" (was {old})" if old not in (None, new) else ""))
    wrong = misfits(freeze)
    print("\n".join(wrong) or "Nothing that the book asks would change it.")
    return bool(wrong)


def misfits(freeze: Freeze) -> list[str]:
    """Return what of the book's requirements would change Colab's set, Python included."""
    everything = Freeze({**freeze.packages, "python": freeze.python}, freeze.python, freeze.date)
    return changes(asked(), everything)


if __name__ == "__main__":
    sys.exit(main())
