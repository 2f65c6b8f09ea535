/* The search page, beside Sphinx's searchtools.js: equations by name, and what a result says.
 * It comes first in the page, and its listener runs before searchtools.js starts. */
document.addEventListener("DOMContentLoaded", () => {
  "use strict";
  const UNSAID = ".headerlink, .katex-html, annotation, .kx-mark, .cell_input, svg, script, style, noscript, details.hide";

  /* The text of a page found: formulas once, no code, no styles. */
  Search.htmlToText = (html, anchor) => {
    const page = new DOMParser().parseFromString(html.replace(/<style\b.*?<\/style>/gs, ""), "text/html");
    for (const node of page.querySelectorAll(UNSAID)) node.remove();
    const main = (anchor && page.querySelector(`[role="main"] ${anchor}`)) || page.querySelector("article, [role=main]");
    return main ? main.textContent.replace(/\s+/g, " ") : "";
  };

  const data = document.querySelector("script.kx-equations");
  const words = (new URLSearchParams(location.search).get("q") ?? "").toLowerCase().match(/[\p{L}\p{N}]+/gu);
  if (!data || !words) return;
  const found = JSON.parse(data.textContent).filter(([name]) => words.every((word) => name.includes(word)));
  const place = document.createElement("ul");
  place.className = "kx-found";
  for (const [name, number, page] of found.slice(0, 12)) {
    const link = document.createElement("a");
    link.href = `${page}.html#equation-${name}`;
    link.textContent = `Equation (${number}), ${name}`;
    place.appendChild(document.createElement("li")).append(link);
  }
  if (found.length) document.getElementById("search-results").before(place);
});
