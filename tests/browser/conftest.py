"""One headless Chromium for all browser tests, with the network cut off.

The built book is served from localhost. Every request to another host is refused and recorded, and
so are console errors: :class:`Visit` holds them, and each test asserts that there are none.
"""

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
# axe looks at every element, of which a chapter has 60 000, most of them alike: the spans inside a
# formula (hidden from screen readers; its color is the text's) and inside a figure (one picture,
# with a name), and the words of code, of which one of each color will do.
THIN = """
() => {
  const all = (selector) => document.querySelectorAll(selector);
  for (const node of all("section")) node.style.contentVisibility = "visible";
  for (const node of all(".katex-html, .katex-mathml")) node.replaceChildren("x");
  for (const node of all("svg.kx-figure, svg.kx-picture")) node.replaceChildren();
  const seen = new Set();
  for (const node of all(".highlight pre span"))
    if (seen.has(node.className)) node.remove();
    else seen.add(node.className);
  return new Promise((done) => requestAnimationFrame(() => setTimeout(done, 50)));
}
"""
AXE = """
([values, colors, apart]) => axe.run({ resultTypes: ["violations"],
  runOnly: { type: colors ? "rule" : "tag", values },
  rules: colors ? {} : Object.fromEntries(apart.map((rule) => [rule, { enabled: false }])),
}).then((found) =>
  found.violations.flatMap((v) =>
    v.nodes.map((n) => `${v.id}: ${n.html.slice(0, 120)} ${n.failureSummary}`)))
"""
# Colors take axe milliseconds a text, and a page has thousands of blocks that look alike: letters
# of the same colors and sizes inside elements of the same names, classes and backgrounds. One of
# each keeps its words; the others get them back when the colors change.
ALIKE = """
() => {
  for (const [text, words] of window.kxWords ?? []) text.data = words;
  window.kxWords = [];
  const looks = new Map(), blocks = new Map(), seen = new Set();
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
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = walk.nextNode()); ) {
    if (!text.data.trim()) continue;
    const { path, block } = look(text.parentElement);
    if (!blocks.has(block)) blocks.set(block, { texts: [], kinds: new Set() });
    blocks.get(block).texts.push(text);
    blocks.get(block).kinds.add(`${path} ${text.parentElement.checkVisibility()}`);
  }
  for (const { texts, kinds } of blocks.values()) {
    const kind = [...kinds].sort().join();
    if (seen.has(kind)) window.kxWords.push(...texts.map((text) => [text, text.data]));
    else seen.add(kind);
  }
  for (const [text] of window.kxWords) text.data = "";
}
"""
COLORS = ["color-contrast", "link-in-text-block"]
# No color on its way from light to dark.
STILL = "() => { document.body.offsetWidth; document.getAnimations().forEach((a) => a.finish()); }"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="session")
def site() -> Path:
    """The folder of the built book."""
    if not (SITE / "index.html").is_file():
        pytest.fail(f"{SITE} holds no book: run `make book` first")
    return SITE


@pytest.fixture(scope="session")
def address(site):
    """Where the built book is served, with a slash at the end."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    handler = functools.partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


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
        page.evaluate(STILL)
        found = [] if colors else page.evaluate(AXE, [WCAG, False, COLORS])
        page.evaluate(ALIKE)
        return found + page.evaluate(AXE, [COLORS, True, []])

    return look
