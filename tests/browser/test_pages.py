"""Every page of the built book in a browser: 1280 and 390 px, light and dark, network cut."""

from pathlib import Path

import pytest

from tools.book import documents

# What is wrong with the mathematics, the pictures and the structure of a page, as a list of lines.
FAULTS = r"""
() => {
  const faults = [];
  const show = (node) => (node.textContent || node.outerHTML).trim().slice(0, 80);
  for (const node of document.querySelectorAll(".math"))
    if (!node.querySelector("mjx-container")) faults.push("not typeset: " + show(node));
  for (const node of document.querySelectorAll("mjx-merror, [data-mjx-error]"))
    faults.push("mathematics in error: " + (node.getAttribute("title") || show(node)));
  for (const node of document.querySelectorAll("mjx-container [style*='color: red']"))
    faults.push("unknown command: " + show(node));
  const raw = /\\\(|\\\)|\\\[|\\\]|\$\$|\$[^$\s][^$]*\$|\{(eq|numref|ref|cite|doc|term)\}`|^:::/m;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode()); ) {
    const inside = node.parentElement.closest("pre, code, script, style, template, mjx-container");
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

# Screenshots are for a human to look at: the first screens of a long chapter will do.
HEIGHT = "() => Math.min(document.documentElement.scrollHeight, 8000)"


@pytest.mark.browser
@pytest.mark.parametrize("path", [*(f"{name}.html" for name in documents()), "search.html"])
def test_page(path, visit, site):
    """Nothing foreign, no error, all mathematics typeset, no sideways scroll, in both themes."""
    shots = site.parent / "screenshots"
    shots.mkdir(exist_ok=True)
    name = Path(path).with_suffix("").as_posix().replace("/", "-")
    for width, scheme, other in [(1280, "light", "dark"), (390, "dark", "light")]:
        seen = visit(path, width=width, scheme=scheme)
        page = seen.page
        assert page.evaluate(FAULTS) == []
        assert page.evaluate(OVERFLOW) == []
        for theme in (scheme, other):
            page.emulate_media(color_scheme=theme)
            page.wait_for_function(f"document.documentElement.dataset.theme === '{theme}'")
            clip = {"x": 0, "y": 0, "width": width, "height": page.evaluate(HEIGHT)}
            page.screenshot(path=shots / f"{name}-{theme}-{width}.png", full_page=True, clip=clip)
        seen.clean()
        page.close()
