"""JavaScript for tests that wait for explorers: with an end, and a complaint that names the figure.

An explorer is busy while pictures that it needs are decoded; then it draws.
"""

UNTIL = """
const until = async (done, complaint) => {
  for (const end = performance.now() + 30000; !done(); ) {
    if (performance.now() > end) throw new Error(`${complaint()} after 30 s`);
    await new Promise((next) => { requestAnimationFrame(next); setTimeout(next, 1000); });
  }
};
const named = (figure) => figure.id || figure.textContent.trim().slice(0, 60);
const settled = (figure) => until(() => !figure.ariaBusy, () => `${named(figure)}: still busy`);
const everyReady = () => {
  const left = () => [...document.querySelectorAll("figure.kx-explorer:not([data-kx=ready])")];
  return until(() => !left().length, () => `${left().map(named)}: no explorer yet`);
};
"""


def awaiting(body: str, argument: str = "") -> str:
    """An asynchronous function that may wait: ``settled(figure)``, ``everyReady()``."""
    return f"async ({argument}) => {{ {UNTIL} {body} }}"


READY = awaiting("await everyReady();")
