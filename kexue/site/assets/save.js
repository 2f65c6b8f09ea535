/* Save a figure as SVG or PNG, as it stands: black on white whatever the theme, an explorer where
 * the reader moved it. Nothing is requested: the drawing is in the page already. */
(() => {
  "use strict";
  const SVG = "http://www.w3.org/2000/svg", XLINK = "http://www.w3.org/1999/xlink";
  const SHARP = 3; // pixels of the PNG for one of the page

  function loaded(url) {
    return new Promise((done, failed) => {
      const image = new Image();
      image.onload = () => done(image);
      image.onerror = () => failed(new Error("the figure cannot be drawn"));
      image.src = url;
    });
  }

  function canvas(image, width, height) {
    const paper = Object.assign(document.createElement("canvas"), { width, height });
    paper.getContext("2d").drawImage(image, 0, 0, width, height);
    return paper;
  }

  /* A copy that needs no page around it: colors written out, a white sheet below, pictures inside. */
  async function alone(svg) {
    const copy = svg.cloneNode(true), [x, y, w, h] = svg.getAttribute("viewBox").split(/[\s,]+/);
    for (const node of [copy, ...copy.querySelectorAll("*")])
      for (const { name, value } of [...node.attributes])
        if (/currentColor|var\(--kx-paper/i.test(value))
          node.setAttribute(name, value.replace(/currentColor/gi, "#000").replace(/var\(--kx-paper[^)]*\)/g, "#fff"));
    for (const image of copy.querySelectorAll("image")) {
      let url = image.getAttribute("href");
      if (!url.startsWith("data:")) {
        const picture = await loaded(url);
        url = canvas(picture, picture.naturalWidth, picture.naturalHeight).toDataURL();
      }
      image.setAttribute("href", url);
      image.setAttributeNS(XLINK, "xlink:href", url); // for programs that know the older name only
      image.style.imageRendering = "pixelated";
    }
    const sheet = document.createElementNS(SVG, "rect");
    for (const [key, value] of Object.entries({ x, y, width: w, height: h, fill: "#fff" })) sheet.setAttribute(key, value);
    copy.prepend(sheet);
    for (const key of ["class", "hidden"]) copy.removeAttribute(key);
    return { text: new XMLSerializer().serializeToString(copy), w: +w, h: +h };
  }

  async function save(figure, kind) {
    const { text, w, h } = await alone(drawing(figure));
    let file = new Blob([text], { type: "image/svg+xml" });
    if (kind === "png") {
      const url = URL.createObjectURL(file), image = await loaded(url);
      const paper = canvas(image, Math.round((w * SHARP * 4) / 3), Math.round((h * SHARP * 4) / 3));
      URL.revokeObjectURL(url);
      file = await new Promise((done) => paper.toBlob(done, "image/png"));
    }
    const link = document.createElement("a");
    link.href = URL.createObjectURL(file);
    link.download = `${name(figure)}.${kind}`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  const drawing = (figure) => figure.querySelector("svg.kx-picture:not([hidden]), svg.kx-figure");
  const name = (figure) => figure.id || "figure";

  for (const figure of document.querySelectorAll("figure:has(svg.kx-figure), figure.kx-explorer:has(.kx-stage > img)")) {
    const number = figure.querySelector(".caption-number")?.textContent.trim() || "figure";
    const place = document.createElement("span");
    place.className = "kx-save";
    for (const kind of ["svg", "png"]) {
      const button = document.createElement("button");
      Object.assign(button, { type: "button", textContent: kind.toUpperCase(), ariaLabel: `Save ${number} as ${kind.toUpperCase()}` });
      button.addEventListener("click", () => drawing(figure) && save(figure, kind));
      place.append(button);
    }
    figure.append(place);
  }
})();
