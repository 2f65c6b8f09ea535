"""One headless Chromium for all browser tests, with the network cut off.

The built book is served from localhost. Every request to another host is refused and recorded, and
so are console errors: :class:`Visit` holds them, and each test asserts that there are none.
"""

import contextlib
import functools
import http.server
import os
import shutil
import threading
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = Path(os.environ.get("KEXUE_SITE", ROOT / "_build" / "html"))
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
# axe looks at every element, of which a chapter has 60 000, most of them alike: what is inside a
# formula (its color is the text's) and inside a figure (one picture, with a name), and the words of
# code, of which one of each color will do.
THIN = """
() => {
  const all = (selector) => document.querySelectorAll(selector);
  for (const node of all("section, div.math, div.cell, section > p"))
    node.style.contentVisibility = "visible";
  for (const node of all(".katex")) node.replaceChildren("x");
  for (const node of all("svg.kx-figure, svg.kx-picture")) node.replaceChildren();
  const seen = new Set();
  for (const node of all(".highlight pre span"))
    if (seen.has(node.className)) node.remove();
    else seen.add(node.className);
  return new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)));
}
"""
AXE = """
([values, colors]) => axe.run({ resultTypes: ["violations"],
  runOnly: { type: colors ? "rule" : "tag", values },
}).then((found) =>
  found.violations.flatMap((v) =>
    v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 120)} ${n.failureSummary}`)))
"""
# Colors take axe milliseconds a text, and a page has thousands of texts that look alike: letters of
# the same colors and sizes inside elements of the same names, classes and backgrounds. axe is shown
# blocks until it has seen each kind, and each two kinds that stand in one block (a link in a text,
# which it looks at where the text is longer than the links).
SAMPLE = """
() => {
  for (const node of document.querySelectorAll("[data-sampled]"))
    node.removeAttribute("data-sampled");
  const looks = new Map(), blocks = new Map(), numbers = new Map(), seen = new Set();
  const look = (node) => {
    if (!node) return { path: "", block: null };
    if (!looks.has(node)) {
      const s = getComputedStyle(node), up = look(node.parentElement);
      const own = [node.nodeName, node.getAttribute("class"), s.backgroundColor, s.backgroundImage,
        s.opacity, s.filter, s.color, s.fontSize, s.fontWeight, s.textShadow, s.textDecorationLine];
      const inline = s.display.startsWith("inline") || s.display === "contents";
      looks.set(node, { path: `${up.path} ${own}`, block: inline ? up.block : node });
    }
    return looks.get(node);
  };
  const number = (kind) => numbers.get(kind) ?? numbers.set(kind, numbers.size).get(kind);
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walk.nextNode()); ) {
    if (!text.data.trim()) continue;
    const node = text.parentElement, { path, block } = look(node);
    if (!blocks.has(block)) blocks.set(block, { nodes: new Set(), kinds: new Set(), length: 0 });
    const here = blocks.get(block), length = text.data.trim().length;
    here.nodes.add(node);
    here.kinds.add(number(`${path} ${node.checkVisibility()}`));
    here.length += node.closest("a") ? -length : length;
  }
  for (const [block, { nodes, kinds, length }] of blocks) {
    const sorted = [...kinds].sort((a, b) => a - b), text = length > 0;  // more than its links
    const pairs = sorted.flatMap((a, k) => sorted.slice(k).map((b) => `${a} ${b} ${text}`));
    if (pairs.every((pair) => seen.has(pair))) continue;
    for (const pair of pairs) seen.add(pair);
    for (const node of nodes)
      for (let up = node; up && !up.contains(block.parentElement); up = up.parentElement)
        up.setAttribute("data-sampled", "");
  }
  for (const node of document.querySelectorAll("input, select, textarea"))
    node.setAttribute("data-sampled", "");
}
"""
COLORS = {"color-contrast": "[data-sampled]", "link-in-text-block": "a[href][data-sampled]"}
SHOWN = "(rules) => axe.configure({ rules })"
# No color on its way from light to dark.
STILL = "() => { document.body.offsetWidth; document.getAnimations().forEach((a) => a.finish()); }"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built book."""
    if not (SITE / "index.html").is_file():
        pytest.fail(f"{SITE} holds no book: run `make book` first")
    return SITE


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, says nothing."""

    def log_message(self, format, *args):
        pass


@pytest.fixture(scope="session")
def serving():
    """``serving(folder)`` serves it from localhost and says where, with a slash at the end."""
    with contextlib.ExitStack() as stack:

        def serve(folder: Path) -> str:
            handler = functools.partial(Quiet, directory=str(folder))
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
            stack.enter_context(server)
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/"

        yield serve


@pytest.fixture(scope="session")
def address(site, serving):
    """Where the built book is served, with a slash at the end."""
    return serving(site)


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium; without one the test is skipped, or fails where CI is set."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = os.environ.get("KEXUE_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None:
        complaint = f"no Chromium found: looked for {', '.join(names)} and KEXUE_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page in the browser, with what it asked for and complained about."""

    page: object
    foreign: list[str] = field(default_factory=list)  # requests to other hosts
    missing: list[str] = field(default_factory=list)  # answers other than success
    errors: list[str] = field(default_factory=list)  # console errors, uncaught exceptions

    def clean(self) -> None:
        """Assert that nothing foreign, missing or broken was seen so far."""
        assert self.foreign == [], "requests leave the site"
        assert self.missing == [], "files the site does not have"
        assert self.errors == [], "console errors"


@pytest.fixture
def visit(chromium, address):
    """Open a page of the book: ``visit("book/index.html", width=390, scheme="dark")``.

    ``init`` is a script to run first, ``on_request`` is told of every request. Other keyword
    arguments go to Playwright's ``new_context``. Returns a :class:`Visit` once the page is loaded.
    """
    contexts = []

    def open_page(
        path: str, *, width=1280, height=900, scheme="light", init="", on_request=None, **options
    ):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, **options
        )
        contexts.append(context)
        context.set_default_timeout(60_000)  # a busy machine is no fault of the page
        seen = Visit(context.new_page())

        def gate(route):
            if route.request.url.startswith(address):
                route.continue_()
            else:
                seen.foreign.append(route.request.url)
                route.abort()

        context.route("**/*", gate)
        page = seen.page
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("console", lambda m: seen.errors.append(m.text) if m.type == "error" else None)
        page.on(
            "response",
            lambda r: seen.missing.append(f"{r.status} {r.url}") if r.status >= 400 else None,
        )
        if init:
            page.add_init_script(init)
        if on_request:
            page.on("request", on_request)
        page.goto(address + path, wait_until="load")
        return seen

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def violations():
    """A function: what axe-core finds on an open page that breaks WCAG 2.2, level A or AA.

    With ``colors=True`` what depends on colors alone. The page is thinned out first: nothing else
    can be tested on it after.
    """
    source = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")

    def look(page, colors: bool = False) -> list[str]:
        if not page.evaluate("() => 'axe' in window"):
            page.evaluate(THIN)
            page.evaluate(source)
            page.evaluate(SHOWN, [{"id": k, "selector": v} for k, v in COLORS.items()])
        page.evaluate(STILL)
        page.evaluate(SAMPLE)
        return page.evaluate(AXE, [list(COLORS) if colors else WCAG, colors])

    return look
