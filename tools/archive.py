"""The built site as one file that opens without a network: ``python tools/archive.py [SITE]``.

Writes ``_build/kexue-<version>.zip``: unpack it anywhere and open ``index.html``. Slides and PDFs
are in it if they were made (``make slides``, ``make pdf``). The same site gives the same bytes.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from kexue.site.citation import key  # noqa: E402  (the folder above is where it is found)
from tools import pdf  # noqa: E402
from tools.book import documents  # noqa: E402

LEFT_OUT = ".buildinfo", "objects.inv", ".doctrees", ".nojekyll"
DAY = (1980, 1, 1, 0, 0, 0)  # the first that the format knows


def pack(site: Path, file: Path, top: str) -> int:
    """Write the site into ``file``, all in one folder ``top``; return how many files.

    Raises ``SystemExit`` where there is no site.
    """
    if not (site / "index.html").is_file():
        raise SystemExit(f"{site} holds no book: run make book first")
    paths = sorted(p for p in site.rglob("*") if p.is_file())
    paths = [p for p in paths if not set(p.relative_to(site).parts) & set(LEFT_OUT)]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        for path in paths:
            info = zipfile.ZipInfo(f"{top}/{path.relative_to(site).as_posix()}", DAY)
            info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            made.writestr(info, path.read_bytes())
    return len(paths)


def outdated(site: Path) -> list[str]:
    """What a former build left: decks of no chapter, PDFs of other pages than these."""
    slugs = {name.rpartition("/")[2] for name in documents()}
    decks = [f"slides/{p.name}" for p in site.glob("slides/*.html") if p.stem not in slugs]
    return sorted(decks) + [f"pdf/{name}" for name in pdf.stale(site)]


def main(site: Path = ROOT / "_build" / "html") -> None:
    """Write the archive of this version."""
    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    top = f"{key(cff)}-{cff['version']}"
    file = ROOT / "_build" / f"{top}.zip"
    if old := outdated(site):
        raise SystemExit(f"not of this build: {', '.join(old)}; run make pdf, or delete them")
    count = pack(site, file, top)
    parts = [name for name in ("slides", "pdf") if (site / name).is_dir()]
    more = f", with {' and '.join(parts)}" if parts else ", without slides or PDF"
    print(f"{file.relative_to(ROOT)}: {count} files, {file.stat().st_size / 1e6:.1f} MB{more}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
