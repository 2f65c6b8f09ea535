/* Explorers: figures whose parameters a reader can move.
 *
 * One file, two uses. On a page it is a plain script: every <figure class="kx-explorer"> gets
 * controls over the frames stored in it; no kernel, no network, file:// included. In a notebook
 * with a kernel kexue.explore adds one export line, and `render` is an anywidget: the same
 * controls over the full range, each picture computed by Python.
 */
const kexueExplorer = (() => {
  "use strict";
  const NS = "http://www.w3.org/2000/svg", UNIT = 16;
  const KINDS = ["path", "marks", "text", "image"];
  let serial = 0;

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

  class Stage {
    constructor(place) {
      this.prefix = `kx${++serial}-`;
      this.svg = make("svg", { class: "kx-picture", role: "img" });
      this.texts = document.createElement("div");
      this.texts.className = "kx-texts";
      this.slots = [];
      place.append(this.svg, this.texts);
    }

    open(doc) {
      this.doc = doc;
      this.svg.hidden = !doc.box;
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
        else node.textContent = kind === "tex" ? `\\[${content}\\]` : content;
        if (kind === "tex") window.MathJax?.startup?.promise?.then(() => MathJax.typesetPromise([node]));
        return node;
      }));
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

  // ---- controls ---------------------------------------------------------------------------
  function tag(name, properties, parent) {
    const node = Object.assign(document.createElement(name), properties);
    if (parent) parent.append(node);
    return node;
  }

  function format(c, position) {
    if (c.base) return String(+(c.base ** position).toPrecision(3));
    return Number(position).toFixed(c.digits).replace("-", "\u2212");
  }

  /* One row a parameter. `fine`: a range moves over all its values, else over the stored ones.
   * Returns get() -> position or option number of each, and calls `moved` on every change. */
  function addControls(place, controls, fine, moved) {
    const inputs = controls.map((c) => {
      const row = tag("label", { className: `kx-row kx-${c.kind}` }, place);
      tag("span", { className: "kx-name", textContent: c.label }, row);
      const input = tag(c.kind === "select" ? "select" : "input", {}, row);
      input.dataset.lmSuppressShortcuts = "true"; // JupyterLab would take the arrow keys
      input.name = c.name;
      const all = fine && c.kind === "range";
      if (c.kind === "select") {
        c.texts.forEach((t) => tag("option", { textContent: t }, input));
        input.selectedIndex = c.start;
        input.read = () => input.selectedIndex;
      } else if (c.kind === "check") {
        Object.assign(input, { type: "checkbox", checked: !!c.start, read: () => +input.checked });
      } else {
        input.type = "range";
        Object.assign(input, all ? { min: c.low, max: c.high, step: c.step } : { min: 0, max: c.at.length - 1, step: 1 });
        input.value = all ? c.at[c.start] : c.start;
        input.read = () => (all ? +input.value : c.at[+input.value]);
      }
      const output = tag("output", { className: "kx-value" }, row);
      const tell = () => {
        if (c.kind !== "range") return;
        const text = format(c, input.read()) + (c.unit ? `\u00a0${c.unit}` : "");
        output.textContent = text;
        input.setAttribute("aria-valuetext", text);
      };
      input.addEventListener(c.kind === "range" ? "input" : "change", () => { tell(); moved(c); });
      if (c.interval && c.kind === "range") player(row, input, c);
      tell();
      return input;
    });
    return () => inputs.map((i) => i.read());
  }

  function player(row, input, c) {
    const holder = tag("div", { className: "kx-player" });
    row.replaceWith(holder);
    const button = tag("button", { type: "button", className: "kx-play" }, holder);
    holder.append(row);
    const calm = matchMedia("(prefers-reduced-motion: reduce)");
    let timer = 0;
    const show = () => {
      button.dataset.playing = timer ? "yes" : "no";
      button.setAttribute("aria-label", calm.matches ? `Next ${c.label}` : `${timer ? "Pause" : "Play"} ${c.label}`);
    };
    const stop = () => { clearInterval(timer); timer = 0; show(); };
    const next = () => {
      if (!button.isConnected) return stop();
      if (+input.value >= +input.max) input.value = input.min;
      else input.stepUp(Math.max(1, Math.round((input.max - input.min) / input.step / 60)));
      input.dispatchEvent(new Event("input", { bubbles: true }));
    };
    button.addEventListener("click", () => {
      if (calm.matches) return next();
      if (timer) return stop();
      timer = setInterval(next, c.interval);
      show();
    });
    show();
  }

  // ---- without a kernel: the stored frames ------------------------------------------------
  async function hydrate(figure) {
    if (figure.dataset.kx) return;
    figure.dataset.kx = "loading";
    const page = JSON.parse(figure.querySelector("script.kx-data").textContent);
    const doc = await unpack(fromBase64(page.data)), { controls } = page;
    const stack = tag("div", { className: "kx-drawn" });
    const stage = new Stage(stack);
    stage.open(doc);
    const news = tag("span", { className: "kx-news", ariaLive: "polite" });
    let wanted = 0, telling = 0;

    function locate(position) { // -> [[frame, weight], ...], the heaviest first
      return controls.reduce((cells, c, d) => {
        if (c.kind !== "range") return cells.map(([f, w]) => [f * c.texts.length + position[d], w]);
        const at = c.at, n = at.length;
        let k = 0;
        while (k < n - 2 && at[k + 1] <= position[d]) k++;
        const share = Math.min(1, Math.max(0, (position[d] - at[k]) / (at[k + 1] - at[k])));
        return cells.flatMap(([f, w]) => [[f * n + k, w * (1 - share)], [f * n + k + 1, w * share]]).filter(([, w]) => w > 1e-9);
      }, [[0, 1]]).sort((a, b) => b[1] - a[1]);
    }

    const waiting = new Map(); // image url -> promise, null when decoded
    function decoded(scene) {
      const missing = [];
      for (const p of scene)
        if (p.kind === "image") {
          const { url } = doc.images[p.shape];
          if (!waiting.has(url)) {
            const image = new Image();
            image.src = url;
            waiting.set(url, image.decode().then(() => waiting.set(url, null)));
            (doc.kept ||= []).push(image);
          }
          if (waiting.get(url)) missing.push(waiting.get(url));
        }
      return missing.length ? Promise.all(missing) : null;
    }

    function show(get) {
      const turn = ++wanted, position = get(), corners = locate(position), scene = blend(doc, corners);
      const finish = () => {
        if (turn !== wanted) return;
        stage.draw(scene);
        const alt = (corners.length > 1 ? "Near: " : "") + page.alt[corners[0][0]];
        stage.say(doc.parts[corners[0][0]], alt);
        figure.dataset.kxFrame = position.join(" ");
        clearTimeout(telling);
        telling = setTimeout(() => { if (news.isConnected && figure.contains(document.activeElement)) news.textContent = alt; }, 600);
        for (const step of neighbors) { const f = corners[0][0] + step; if (doc.scenes[f]) decoded(doc.scenes[f]); }
      };
      const wait = decoded(scene);
      if (wait) wait.then(finish); else finish();
      return wait;
    }
    let stride = 1;
    const neighbors = [...controls].reverse().flatMap((c) => { const s = stride; stride *= c.kind === "range" ? c.at.length : c.texts.length; return [s, -s]; });

    const rows = tag("div", { className: "kx-controls" });
    const get = addControls(rows, controls, page.blend, () => show(get));
    rows.dataset.rows = controls.length;
    await show(get);
    figure.querySelector(".kx-controls").replaceWith(rows);
    figure.querySelector(".kx-stage").append(stack, news);
    figure.dataset.kx = "ready";
  }

  // ---- with a kernel: anywidget -----------------------------------------------------------
  async function render({ model, el }) {
    const page = JSON.parse(model.get("page"));
    const figure = tag("figure", { className: "kx-explorer kx-kernel" }, el);
    const rows = tag("div", { className: "kx-controls" }, figure);
    const place = tag("div", { className: "kx-stage" }, figure);
    const stack = tag("div", { className: "kx-drawn" }, place);
    const problem = tag("pre", { className: "kx-error", role: "alert", hidden: true }, place);
    if (page.caption) tag("figcaption", { innerHTML: page.caption }, figure);
    const stage = new Stage(stack);
    let sent = 0, busy = false, again = false, slow = 0;
    const get = addControls(rows, page.controls, true, ask);

    async function put(bytes, alt) {
      const doc = await unpack(bytes);
      await Promise.all(doc.images.map(({ url }) => { const i = new Image(); i.src = url; return i.decode(); }));
      stage.doc?.images.forEach(({ url }) => URL.revokeObjectURL(url));
      stage.open(doc);
      stage.draw(doc.scenes[0]);
      stage.say(doc.parts[0], alt);
    }

    function ask() { // one request at a time; of those that pile up only the last is sent
      if (busy) { again = true; return; }
      busy = true;
      again = false;
      clearTimeout(slow);
      slow = setTimeout(() => { figure.dataset.kxWaiting = "yes"; }, 1500);
      model.send({ kind: "draw", id: ++sent, at: get() });
    }

    model.on("msg:custom", async (message, buffers) => {
      if (message.id !== sent) return;
      clearTimeout(slow);
      delete figure.dataset.kxWaiting;
      problem.hidden = !message.error;
      problem.textContent = message.error || "";
      stack.classList.toggle("kx-stale", !!message.error);
      if (!message.error) {
        const b = buffers[0];
        await put(new Uint8Array(b.buffer || b, b.byteOffset || 0, b.byteLength), message.alt);
      }
      figure.dataset.kxFrame = message.at.join(" ");
      busy = false;
      if (again) ask();
    });
    await put(fromBase64(page.data), page.alt[0]);
    figure.dataset.kx = "live";
  }

  function start() {
    for (const figure of document.querySelectorAll("figure.kx-explorer"))
      hydrate(figure).catch((error) => { figure.dataset.kx = "failed"; console.error(error); });
  }
  if (document.currentScript) { // null inside a module: there `render` is called
    if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
    else start();
  }
  return { render, hydrate, unpack };
})();
