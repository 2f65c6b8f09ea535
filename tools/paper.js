/* What the document of paper.py needs before it is printed: nothing wider than the page, and the
 * numbers of pages where they are asked for. */

async function fitToPaper() {
  await document.fonts.ready;
  await Promise.all([...document.images].map((image) => image.decode()));
  for (const box of document.querySelectorAll("div.math > .katex-display"))
    for (let tries = 0; tries < 4 && box.scrollWidth > box.clientWidth; tries++) {
      const size = parseFloat(getComputedStyle(box).fontSize);
      const smaller = (size * 0.99 * box.clientWidth) / box.scrollWidth;
      box.style.setProperty("font-size", `${smaller}px`, "important");
    }
  for (const table of document.querySelectorAll("article table")) {
    const most = table.parentElement.clientWidth;
    const size = parseFloat(getComputedStyle(table).fontSize);
    for (let k = 19; k >= 12 && table.scrollWidth > most + 1; k--)
      table.style.fontSize = `${(size * k) / 20}px`;
  }
}

function writeNumbers(pages) {
  for (const node of document.querySelectorAll("[data-page-of]"))
    node.textContent = pages[node.dataset.pageOf] ?? "";
}

function headings() {
  return [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map((heading) => {
    const copy = heading.cloneNode(true);
    for (const formula of copy.querySelectorAll(".katex")) {
      const math = formula.querySelector("math");
      math?.querySelector("annotation")?.remove();
      formula.textContent = math?.textContent ?? "";
    }
    return copy.textContent.replace(/\s+/g, " ").trim();
  });
}
