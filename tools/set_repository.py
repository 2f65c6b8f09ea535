"""Name the book's repository, everywhere: ``make set-repository URL=https://github.com/you/kexue``.

``_config.yml`` holds the name; the setup cells, the package and the papers around the book repeat
it. ``tests/test_book.py`` holds them equal.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tools.notebooks import repository  # noqa: E402  (the folder above is where it is found)

URL = re.compile(r"https://(?P<host>[\w.-]+)/(?P<owner>[\w.-]+)/(?P<name>[\w.-]+)")
TEXT = {".cff", ".ipynb", ".json", ".md", ".py", ".toml", ".yml", ".yaml", ".js"}


def parts(url: str) -> tuple[str, str, str]:
    """Return host, owner and name of a repository's URL; ``ValueError`` if it is none."""
    match = URL.fullmatch(url.strip().rstrip("/").removesuffix(".git"))
    if match is None:
        raise ValueError(f"URL: got {url!r}, needs the form https://github.com/OWNER/NAME")
    return match["host"], match["owner"], match["name"]


def renamed(text: str, old: str, new: str) -> str:
    """Return ``text`` with the repository ``old`` called ``new``: its URL, Colab and Pages links.

    >>> renamed("git+https://github.com/a/b and a.github.io/b/", "https://github.com/a/b",
    ...         "https://github.com/c/d")
    'git+https://github.com/c/d and c.github.io/d/'
    """
    (host, owner, name), (new_host, new_owner, new_name) = parts(old), parts(new)
    end = r"(?![\w-])(?!\.(?!git\b)\w)"
    for before, after in [
        (f"{host}/{owner}/{name}", f"{new_host}/{new_owner}/{new_name}"),
        (f"/github/{owner}/{name}", f"/github/{new_owner}/{new_name}"),
        (f"{owner}.github.io/{name}", f"{new_owner}.github.io/{new_name}"),
    ]:
        text = re.sub(re.escape(before) + end, after, text)
    return text


def files() -> list[Path]:
    """Return the text files under version control, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    paths = [ROOT / line for line in listed.splitlines()]
    vendored = "vendor", "artifacts"
    return [
        p
        for p in paths
        if p.suffix in TEXT and p.is_file() and not any(v in p.parts for v in vendored)
    ]


def main(url: str) -> None:
    """Rewrite every file that names the repository."""
    try:
        new = "https://" + "/".join(parts(url))
    except ValueError as error:
        raise SystemExit(str(error)) from None
    old = repository()
    for path in files():
        before = path.read_text(encoding="utf-8")
        after = renamed(before, old, new)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(path.relative_to(ROOT))


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "")
