/* Explorers, part one: stored bytes to scenes, scenes to SVG. explore.js uses it; see there. */
const kexueDrawing = (() => {
  "use strict";
  const NS = "http://www.w3.org/2000/svg", UNIT = 16;
  const KINDS = ["path", "marks", "text", "image"];

  // ---- stored bytes -> scenes (the inverse of pack.py) ------------------------------------
  async function inflate(bytes) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  function fromBase64(text) {
    const raw = atob(text), out = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) out[i] = raw.charCodeAt(i);
    return out;
  }

  async function unpack(packed) {
    const raw = await inflate(packed), view = new DataView(raw.buffer);
    const n = view.getUint32(0, true), m = view.getUint32(4 + n, true);
    const doc = JSON.parse(new TextDecoder().decode(raw.subarray(4, 4 + n)));
    let at = 8 + n;
    const take = () => {
      let value = 0, scale = 1, byte;
      do { byte = raw[at++]; value += (byte & 127) * scale; scale *= 128; } while (byte > 127);
      return value;
    };
    const signed = () => { const z = take(); return z % 2 ? -(z + 1) / 2 : z / 2; };
    const arrays = [];
    for (let left = take(); left > 0; left--) {
      const length = take(), kind = take(), reference = kind > 1 ? arrays[arrays.length - take()] : null;
      const v = Float64Array.from({ length }, signed);
      for (let pass = [1, 2, 0, 1, 2][kind]; pass > 0; pass--)
        for (let i = 1; i < length; i++) v[i] += v[i - 1];
      if (reference) for (let i = 0; i < length; i++) v[i] += reference[i];
      arrays.push(v);
    }
    const count = take(), columns = [];
    for (let c = 0; c < 5; c++) {
      let sum = 0;
      columns.push(Array.from({ length: count }, () => (sum += signed())));
    }
    const primitives = columns[0].map((kind, i) => ({
      id: i, kind: KINDS[kind], style: columns[1][i], shape: columns[2][i],
      x: arrays[columns[3][i]], y: arrays[columns[4][i]],
    }));
    let before = [];
    doc.scenes = Array.from({ length: doc.frames }, () => {
      before = Array.from({ length: take() }, (_, k) => signed() + (before[k] || 0));
      return before.map((id) => primitives[id]);
    });
    at = 8 + n + m;
    for (const image of doc.images) {
      image.url = URL.createObjectURL(new Blob([raw.subarray(at, at + image[1])], { type: image[0] }));
      at += image[1];
    }
    doc.commands = doc.shapes.map((s) => (s.match(/[A-Z]\d+/g) || []).map((c) => [c[0], +c.slice(1)]));
    return doc;
  }

  // ---- scenes -> SVG ----------------------------------------------------------------------
  function make(name, attributes, parent) {
    const node = document.createElementNS(NS, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    if (parent) parent.append(node);
    return node;
  }

  const POINTS = { M: 1, L: 1, Q: 2, C: 3 };
  function pathData(commands, x, y) {
    let out = "", k = 0;
    for (const [letter, times] of commands)
      for (let t = 0; t < times; t++) {
        out += letter;
        for (let p = POINTS[letter] || 0; p > 0; p--, k++) out += x[k] / UNIT + " " + y[k] / UNIT + " ";
      }
    return out;
  }

  // What scrolls sideways can be reached by keyboard.
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries)
      if (target.scrollWidth > target.clientWidth + 1) target.tabIndex = 0;
      else target.removeAttribute("tabindex");
  });

  class Stage {
    constructor(place) {
      globalThis.kexueStages = (globalThis.kexueStages || 0) + 1; // notebooks load this file often
      this.prefix = `kx${globalThis.kexueStages}-`;
      this.svg = make("svg", { class: "kx-picture", role: "img" });
      this.texts = document.createElement("div");
      this.texts.className = "kx-texts";
      this.slots = [];
      place.append(this.svg, this.texts);
      sizes.observe(place);
    }

    open(doc) {
      this.doc = doc;
      this.svg.toggleAttribute("hidden", !doc.box);
      this.svg.replaceChildren();
      this.slots = [];
      if (!doc.box) return;
      const [left, top, right, bottom] = doc.box, w = right - left, h = bottom - top;
      for (const [k, v] of [["viewBox", `${left} ${top} ${w} ${h}`], ["width", Math.round((w * 4) / 3)], ["height", Math.round((h * 4) / 3)]])
        this.svg.setAttribute(k, v);
      const defs = make("defs", {}, this.svg);
      doc.clips.forEach((d, i) => make("path", { d }, make("clipPath", { id: this.prefix + i }, defs)));
    }

    build(p) {
      const [attributes, clip] = this.doc.styles[p.style];
      const outer = make(p.kind === "path" ? "path" : "g", attributes);
      if (clip >= 0) outer.setAttribute("clip-path", `url(#${this.prefix + clip})`);
      if (p.kind === "text") {
        const [, size, , run] = this.doc.strings[p.shape];
        const line = make("g", {}, outer);
        for (let i = 0; i < run.length; i += 4)
          make("path", { d: this.doc.glyphs[run[i]], transform: `translate(${run[i + 1]} ${run[i + 2]}) scale(${run[i + 3] / 10})` }, line);
        line.dataset.scale = `scale(${size} ${-size})`;
      } else if (p.kind === "image") {
        const image = this.doc.images[p.shape];
        make("image", { href: image.url, width: image[2], height: image[3], preserveAspectRatio: "none" }, outer);
      } else if (p.kind === "marks") {
        for (const key of ["stroke-width", "stroke-dasharray", "stroke-dashoffset"])
          if (key in attributes) // the marks are drawn at 1/100
            outer.setAttribute(key, String(attributes[key]).split(" ").map((v) => v * 100).join(" "));
        for (let i = 0; i < p.x.length; i++) make("path", { d: this.doc.shapes[p.shape] }, outer);
      }
      return outer;
    }

    place(node, p) {
      if (p.kind === "path") node.setAttribute("d", pathData(this.doc.commands[p.shape], p.x, p.y));
      else if (p.kind === "marks")
        for (let i = 0; i < p.x.length; i++)
          node.children[i].setAttribute("transform", `translate(${p.x[i] / UNIT} ${p.y[i] / UNIT}) scale(.01)`);
      else {
        const x = p.x[0] / UNIT, y = p.y[0] / UNIT, inner = node.firstChild;
        if (p.kind === "text") {
          const angle = this.doc.strings[p.shape][2];
          inner.setAttribute("transform", `translate(${x} ${y})${angle ? ` rotate(${angle})` : ""} ${inner.dataset.scale}`);
        } else inner.setAttribute("transform", `matrix(${this.doc.images[p.shape][4].join(" ")} ${x} ${y})`);
      }
    }

    draw(scene) {
      scene.forEach((p, k) => {
        const slot = this.slots[k];
        if (slot && slot.p === p) return;
        const alike = slot && slot.p.kind === p.kind && slot.p.style === p.style && slot.p.x.length === p.x.length &&
          (p.kind === "path" || slot.p.shape === p.shape);
        const node = alike ? slot.node : this.build(p);
        this.place(node, p);
        if (!slot) this.svg.append(node);
        else if (!alike) slot.node.replaceWith(node);
        this.slots[k] = { p, node };
      });
      for (const extra of this.slots.splice(scene.length)) extra.node.remove();
    }

    say(parts, alt) {
      this.svg.setAttribute("aria-label", alt);
      const key = parts.join();
      if (this.shown === key && this.from === this.doc) return;
      this.shown = key;
      this.from = this.doc;
      const tall = this.texts.offsetHeight; // never shrink: what follows must not jump
      if (tall) this.texts.style.minHeight = `${tall}px`;
      this.texts.replaceChildren(...parts.map((number) => {
        const [kind, content] = this.doc.texts[number];
        const node = document.createElement(kind === "text" ? "pre" : "div");
        node.className = `kx-part${kind === "tex" ? " kx-tex math" : ""}`;
        if (kind === "html") node.innerHTML = content;
        else if (kind === "tex" && globalThis.katex) katex.render(content, node, { displayMode: true });
        else node.textContent = kind === "tex" ? `\\[${content}\\]` : content; // a notebook has its own
        return node;
      }));
      for (const node of this.texts.children) sizes.observe(node);
    }
  }

  function blend(doc, corners) {
    if (corners.length === 1) return doc.scenes[corners[0][0]];
    return doc.scenes[corners[0][0]].map((p, k) => {
      const mix = (axis) => {
        if (corners.every(([f]) => doc.scenes[f][k][axis] === p[axis])) return p[axis];
        const out = new Float64Array(p[axis].length);
        for (const [f, w] of corners) {
          const v = doc.scenes[f][k][axis];
          for (let i = 0; i < out.length; i++) out[i] += w * v[i];
        }
        return out.map(Math.round);
      };
      const x = mix("x"), y = mix("y");
      return x === p.x && y === p.y ? p : { ...p, x, y };
    });
  }

  return { Stage, blend, fromBase64, unpack };
})();
