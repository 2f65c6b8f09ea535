"""Every page of the built book in a browser: 1280 and 390 px, light and dark, network cut.

A page is loaded once for each width: bytes and requests within the budget, mathematics, pictures,
structure and sideways scrolling, then accessibility (which takes the page apart). With
``KEXUE_SCREENSHOTS=1`` pictures of it go to ``_build/screenshots``.
A violation of the page's Content-Security-Policy is a console error, of which there may be none.

The table of what each page costs is printed at the end. Its times are from localhost, on this
machine and with whatever else runs on it: they are never asserted, that nothing moves is. A page's
own figures and explorers are not counted: they are what the reader came for.
"""

import gzip
import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from waiting import awaiting

from tools.book import documents

BYTES, REQUESTS, INDEX = 400_000, 30, 100_000  # compressed; a page; the search index
OWN = re.compile(
    r'<svg class="kx-figure".*?</svg>|<script type="application/json" class="kx-data">.*?</script>'
    r'|"data:image/[^"]*"',
    re.DOTALL,
)
PACKED = (".woff", ".woff2", ".png", ".jpg", ".webp")
SHIFT = 0.05  # how far what was painted moves while a page loads; half of what is called good
# Largest contentful paint; what each long task took beyond 50 ms, summed: in ms; layout shifts.
OBSERVE = """
window.kxTimes = {lcp: 0, tbt: 0, cls: 0};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.kxTimes.lcp = entry.startTime;
}).observe({type: "largest-contentful-paint", buffered: true});
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.kxTimes.tbt += entry.duration - 50;
}).observe({type: "longtask", buffered: true});
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.kxTimes.cls += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""
# What is wrong with the mathematics, the pictures and the structure of a page, as a list of lines.
FAULTS = r"""
() => {
  const faults = [];
  const show = (node) => (node.textContent || node.outerHTML).trim().slice(0, 80);
  for (const node of document.querySelectorAll(".math"))
    if (!node.querySelector(".katex-html") || !node.querySelector(".katex-mathml math"))
      faults.push("not typeset: " + show(node));
  for (const node of document.querySelectorAll(".katex-error"))
    faults.push("mathematics in error: " + (node.getAttribute("title") || show(node)));
  const raw = /\\\(|\\\)|\\\[|\\\]|\$\$|\$[^$\s][^$]*\$|\{(eq|numref|ref|cite|doc|term)\}`|^:::/m;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode()); ) {
    const inside = node.parentElement.closest("pre, code, script, style, template, .katex");
    if (!inside && raw.test(node.data)) faults.push("raw markup: " + show(node));
  }
  for (const node of document.querySelectorAll("main img"))
    if (!node.alt.trim()) faults.push("picture without alt text: " + node.src);
  for (const node of document.querySelectorAll("main img"))
    if (!node.complete || !node.naturalWidth) faults.push("picture not loaded: " + node.src);
  for (const node of document.querySelectorAll("svg.kx-figure"))
    if (!node.getAttribute("aria-label")?.trim()) faults.push("figure without a description");
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(ids.filter((id, k) => ids.indexOf(id) !== k)))
    faults.push("id used twice: " + id);
  for (const mark of document.querySelectorAll(".kx-mark")) {
    const label = mark.querySelector("code"), link = mark.querySelector("a[href*='/issues/new?']");
    const said = decodeURIComponent(link?.href ?? "");
    if (!said.includes(`Equation: ${label.textContent}\n`) || !said.includes("Page: http"))
      faults.push("no report of " + label.textContent);
  }
  const symbol = document.querySelector("article section .math[title]");
  symbol?.click();
  const meaning = document.querySelector(".kx-meaning:popover-open");
  if (symbol && meaning?.textContent !== symbol.title) faults.push("untold: " + show(symbol));
  if (document.querySelector("#names") && !symbol) faults.push("no symbol says what it is");
  meaning?.hidePopover();
  const titles = document.querySelectorAll("article h1").length;
  if (titles !== 1 && !location.pathname.endsWith("/search.html")) faults.push(titles + " h1");
  return faults;
}
"""
# Elements that stick out of the window, unless something around them scrolls.
OVERFLOW = r"""
() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const scrolls = (node) => /auto|scroll|hidden/.test(getComputedStyle(node).overflowX);
  return [...document.querySelectorAll("main *")]
    .filter((node) => node.getBoundingClientRect().right > width + 1)
    .filter((node) => { for (let up = node; up !== document.body; up = up.parentElement)
      if (scrolls(up)) return false; return true; })
    .map((node) => node.outerHTML.slice(0, 120)).slice(0, 3)
    .concat(["the page scrolls sideways"]);
}
"""
# The letters of an explorer's drawing that are too small, in pixels.
SMALL = awaiting(
    """
  await everyReady();
  return [...document.querySelectorAll("figure.kx-explorer")].flatMap((figure) => {
    const svg = figure.querySelector(".kx-drawn svg.kx-picture");
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    const lines = [...svg.querySelectorAll("[data-scale]")];  // "scale(size ...)", in 1/100
    const sizes = lines.map((line) => parseFloat(line.dataset.scale.slice(6)) * 100 * scale);
    return sizes.filter((size) => size < least).map((size) => `${figure.id}: ${size}`);
  });
""",
    "least",
)

# Screenshots are for a human who asks for them: the first screens of a long chapter will do.
LOOK = os.environ.get("KEXUE_SCREENSHOTS", "") not in ("", "0")
HEIGHT = "() => Math.min(document.documentElement.scrollHeight, 8000)"


def wire(path, name: str) -> int:
    """Bytes of a file as a server sends them: compressed where that helps, own figures left out."""
    if name.endswith(PACKED):
        return path.stat().st_size
    text = path.read_bytes()
    if name.endswith(".html"):
        text = OWN.sub("", text.decode()).encode()
    return len(gzip.compress(text, 6, mtime=0))


@pytest.fixture(scope="module")
def costs(request):
    """The rows of the table, which is printed when all pages were seen."""
    rows = []
    yield rows
    lines = [
        f"{kb:7.0f} {n:9} {lcp:6.0f} {tbt:6.0f} {cls:5.3f}  {name}"
        for kb, n, lcp, tbt, cls, name in rows
    ]
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print("\n     kB  requests LCP ms TBT ms shift", *lines, sep="\n")


@pytest.mark.browser
@pytest.mark.parametrize("path", [f"{n}.html" for n in [*documents(), "search", "genindex"]])
def test_page(path, visit, violations, costs, site, address):
    """Nothing foreign, no error, all mathematics typeset, no sideways scroll, in both themes."""
    shots = site.parent / "screenshots"
    shots.mkdir(exist_ok=True)
    name = Path(path).with_suffix("").as_posix().replace("/", "-")
    for width, scheme, other in [(1280, "light", "dark"), (390, "dark", "light")]:
        asked = []
        noted = {"init": OBSERVE, "on_request": lambda r, asked=asked: asked.append(r.url)}
        seen = visit(path, width=width, scheme=scheme, **noted)
        page = seen.page
        files = {urlsplit(url).path[1:] for url in asked if url.startswith(address)}
        size = sum(wire(site / file, file) for file in files)
        times = page.evaluate("() => window.kxTimes")
        costs.append((size / 1000, len(files), *times.values(), f"{path} {width}"))
        assert size <= BYTES and len(files) <= REQUESTS and times["cls"] < SHIFT, costs[-1]
        assert page.evaluate(FAULTS) == []
        assert page.evaluate(OVERFLOW) == []
        assert page.evaluate(SMALL, 10 if width == 390 else 11.9) == []
        for theme in (other, scheme) if LOOK else ():
            turn(page, theme)
            clip = {"x": 0, "y": 0, "width": width, "height": page.evaluate(HEIGHT)}
            page.screenshot(path=shots / f"{name}-{theme}-{width}.png", full_page=True, clip=clip)
        assert violations(page) == []
        if width == 1280:  # colors are the same on a phone
            turn(page, other)
            assert violations(page, colors=True) == []
        seen.clean()
        page.close()


def test_each_kind_of_fault_is_found_once_among_what_looks_alike(chromium, violations):
    """Of texts that look alike axe is shown one: what looks otherwise must still be seen."""
    page = chromium.new_page()
    page.set_content(
        """<!doctype html><html lang="en"><title>T</title><style>a { color: #00c }
        @media (prefers-color-scheme: dark) { .late { color: #888 } }</style><main>
        <p>A word.</p><p>A <b>bold</b> word.</p><p>A word.</p><p class="late">A word.</p>
        <p>A word, <a href="#1">a link</a>.</p><p>A <b>bold</b> word, <a href="#2">a link</a>.</p>
        <p style="color: #999">Pale.</p><p style="color: #999">Pale.</p>
        <p>A <b style="color: #aaa">pale</b> word.</p><p style="background: #555">A word.</p>
        <p>A <a href="#3" style="text-decoration: none">link in few words</a>.</p>
        <p>A word, or two, <a href="#3" style="text-decoration: none">a link</a>, and more.</p>
        <p><a href="#4" style="text-decoration: none">Alone</a></p><p><a href="#5"></a></p>
        <input aria-label="Typed" value="Pale" style="color: #aaa; background: #fff">"""
    )
    found = sorted(line.partition(":")[0] for line in violations(page))
    assert found == ["color-contrast"] * 4 + ["link-in-text-block", "link-name"]
    page.emulate_media(color_scheme="dark")
    found = sorted(line.partition(":")[0] for line in violations(page, colors=True))
    assert found == ["color-contrast"] * 5 + ["link-in-text-block"]
    page.close()


def turn(page, theme: str) -> None:
    """Have the system change to light or dark; the page follows."""
    page.emulate_media(color_scheme=theme)
    page.locator(f"html[data-theme={theme}]").wait_for(state="attached")


def test_the_search_index_is_small(site):
    assert wire(site / "searchindex.js", "searchindex.js") < INDEX
