/* Explorers: figures whose parameters a reader can move.
 *
 * Two files, two uses. On a page they are plain scripts, explore-draw.js first: every
 * <figure class="kx-explorer"> gets controls over the frames stored in it; no kernel, no network,
 * file:// included. In a notebook with a kernel kexue.explore joins them and adds one export line,
 * and `render` is an anywidget: the same controls over the full range, each picture computed by
 * Python.
 */
const kexueExplorer = (() => {
  "use strict";
  const { Stage, blend, fromBase64, unpack } = kexueDrawing;

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
      const row = tag("label", { className: `kx-row kx-row-${c.kind}` }, place);
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
        figure.removeAttribute("aria-busy");
        stage.draw(scene);
        const alt = (corners.length > 1 ? "Near: " : "") + page.alt[corners[0][0]];
        stage.say(doc.parts[corners[0][0]], alt);
        figure.dataset.kxFrame = position.join(" ");
        clearTimeout(telling);
        telling = setTimeout(() => { if (news.isConnected && figure.contains(document.activeElement)) news.textContent = alt; }, 600);
        for (const step of neighbors) { const f = corners[0][0] + step; if (doc.scenes[f]) decoded(doc.scenes[f]); }
      };
      const wait = decoded(scene);
      if (wait) figure.setAttribute("aria-busy", "true"), wait.then(finish); else finish();
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
    let room = 3e7; // pixels: decode the pictures to come while nobody waits for them
    for (const scene of doc.scenes) {
      for (const p of scene) if (p.kind === "image") room -= doc.images[p.shape][2] * doc.images[p.shape][3];
      if (room < 0) break;
      const wait = decoded(scene);
      if (wait) await wait;
    }
  }

  // ---- with a kernel: anywidget -----------------------------------------------------------
  async function render({ model, el }) {
    const page = JSON.parse(model.get("page"));
    const figure = tag("figure", { className: "kx-explorer kx-kernel" }, el);
    const rows = tag("div", { className: "kx-controls" }, figure);
    const place = tag("div", { className: "kx-stage" }, figure);
    const stack = tag("div", { className: "kx-drawn" }, place);
    const problem = tag("pre", { className: "kx-error", role: "alert", hidden: true }, place);
    if (page.caption) {
      const said = tag("figcaption", { innerHTML: page.caption }, figure);
      for (const formula of said.querySelectorAll(".math")) // a notebook does not typeset these
        formula.textContent = formula.textContent.slice(2, -2);
    }
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
  return { render, hydrate };
})();
