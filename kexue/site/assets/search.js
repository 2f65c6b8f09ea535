/* The search page, beside Sphinx's searchtools.js: equations by name, parts of Chinese words, and
 * what a result says. It stands after searchtools.js and before the index, which starts the search. */
(() => {
  "use strict";
  const UNSAID = ".headerlink, .kx-head, .katex-html, annotation, .kx-mark, .cell_input, svg, script, style, noscript, details.hide";

  const APART = "p, li, dt, dd, td, th, div, figure, figcaption, summary, h1, h2, h3, h4";

  /* The text of a page found: formulas once, no code, no styles, a space between blocks. */
  Search.htmlToText = (html, anchor) => {
    const page = new DOMParser().parseFromString(html.replace(/<style\b.*?<\/style>/gs, ""), "text/html");
    for (const node of page.querySelectorAll(UNSAID)) node.remove();
    for (const node of page.querySelectorAll(APART)) node.append(" ");
    const main = (anchor && page.querySelector(`[role="main"] ${anchor}`)) || page.querySelector("article, [role=main]");
    return main ? main.textContent.replace(/\s+/g, " ") : "";
  };

  /* Chinese writes no spaces: what is asked for may stand inside of a longer word of the index, and
   * searchtools.js looks there from three letters on only. */
  const find = Search.performTermsSearch;
  Search.performTermsSearch = (wanted, unwanted) => {
    for (const terms of [Search._index.terms, Search._index.titleterms])
      for (const word of [...wanted].filter((w) => /\p{Script=Han}/u.test(w))) {
        const files = Object.keys(terms).filter((term) => term.includes(word)).flatMap((term) => terms[term]);
        if (files.length) terms[word] = [...new Set(files)];
      }
    return find(wanted, unwanted);
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
})();
