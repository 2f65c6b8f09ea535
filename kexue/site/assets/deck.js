/* A deck: reveal.js with the site's mathematics, a clock, and a speaker's window that needs no
 * server. Loaded in the head, before anything is painted; it starts once the page is read.
 *
 * The speaker's window is this same page with `?speaker`: it and the deck that opened it tell each
 * other, by messages, which slide is shown, where the sliders stand and since when the clock runs.
 */
(() => {
  "use strict";
  const root = document.documentElement, query = new URLSearchParams(location.search);
  const speaker = query.has("speaker") && window.opener, paper = query.has("print-pdf");
  const system = matchMedia("(prefers-color-scheme: dark)");
  let theme = query.get("theme"), partner = speaker || null, since = 0, following = false, heard = "";

  const paint = () => { root.dataset.theme = theme || (system.matches && !paper ? "dark" : "light"); };
  system.addEventListener("change", paint);
  paint();
  root.classList.toggle("kxd-speaker", !!speaker);

  // ---- size: what is too wide or too high for its place is drawn smaller ------------------
  function fit(box, inner, least = 0.55) {
    for (let size = 1; size > least && inner(); size -= 0.03) box.style.fontSize = `${size}em`;
  }
  function fitAll() {
    for (const box of document.querySelectorAll(".kxd-eq, .kxd-part > div.math, .kxd-answer > div.math")) {
      const frame = box.querySelector(".katex-display");
      const wide = () => frame && frame.scrollWidth > frame.clientWidth + 1;
      if (wide()) box.classList.add("kxd-wide"); // first the number goes below
      fit(box, wide);
    }
    for (const body of document.querySelectorAll(".kxd-body"))
      fit(body, () => body.scrollHeight > body.clientHeight + 1 || body.scrollWidth > body.clientWidth + 1, 0.7);
  }

  // ---- the panel with notes, clock and what comes next ------------------------------------
  const minutes = (slide) => (slide ? Number(slide.dataset.minutes) || 0 : 0); // a phone has none at first
  const heading = (slide) => slide && slide.querySelector("h1, h2");
  function clock() {
    const seconds = since ? Math.floor((Date.now() - since) / 1000) : 0;
    const slides = Reveal.getSlides(), here = Reveal.getCurrentSlide();
    const sum = (some) => some.reduce((total, slide) => total + minutes(slide), 0);
    const planned = sum(slides.slice(0, slides.indexOf(here) + 1));
    const text = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
    return `${text} \u00b7 this slide ${minutes(here)} min \u00b7 planned ${planned} of ${sum(slides)} min`;
  }
  function tell() {
    for (const place of document.querySelectorAll(".kxd-clock")) place.textContent = clock();
  }
  function fill() {
    const panel = document.querySelector(".kxd-panel"), here = Reveal.getCurrentSlide();
    if (panel.hidden || !here) return;
    const slides = Reveal.getSlides(), next = heading(slides[slides.indexOf(here) + 1]);
    panel.innerHTML = '<p class="kxd-clock"></p><div class="kxd-said" tabindex="0"></div><p class="kxd-next"></p>';
    panel.querySelector(".kxd-said").innerHTML = here.querySelector("aside.notes").innerHTML;
    panel.querySelector(".kxd-next").innerHTML = next ? `Next: ${next.innerHTML}` : "The last slide.";
    tell();
  }

  // ---- two windows ------------------------------------------------------------------------
  const controls = () => [...document.querySelectorAll(".kx-row input, .kx-row select")];
  const send = (message) => { if (partner && !following) partner.postMessage({ kxd: location.pathname, ...message }, "*"); };
  function place() { // but do not say again what was just heard: the other may have moved on
    const state = Reveal.getState();
    if (JSON.stringify(state) !== heard) send({ state });
  }
  addEventListener("message", ({ data, source, origin }) => {
    if (!partner || source !== partner || origin !== self.origin || data?.kxd !== location.pathname) return;
    following = true;
    if (data.hello) { following = false; send({ state: Reveal.getState(), since }); return; }
    if ("since" in data) since = data.since;
    if (data.state) { heard = JSON.stringify(data.state); Reveal.setState(data.state); }
    if ("control" in data) {
      const input = controls()[data.control];
      if (input?.type === "checkbox") input.checked = data.value;
      else if (input) input.value = data.value;
      input?.dispatchEvent(new Event(data.event));
    }
    following = false;
    tell();
  });
  function relay(event) {
    const control = controls().indexOf(event.target);
    if (control < 0) return;
    const value = event.target.type === "checkbox" ? event.target.checked : event.target.value;
    send({ control, value, event: event.type });
  }
  function open() {
    if (speaker) return;
    const url = new URL(location.href);
    url.searchParams.set("speaker", "");
    partner = window.open(url, "kexue-speaker", "popup,width=1280,height=760");
    if (!partner) notes();
  }
  function notes() {
    const panel = document.querySelector(".kxd-panel");
    panel.hidden = !panel.hidden;
    fill();
  }

  // ---- start ------------------------------------------------------------------------------
  function toggleClock() {
    since ||= Date.now();
    document.querySelector(".reveal > .kxd-clock").toggleAttribute("hidden");
    tell();
    send({ since });
  }
  function restart() { since = Date.now(); tell(); send({ since }); }
  function key(event) { // a slider keeps the arrows; the keys of a presenter's remote move on
    const inside = document.activeElement && document.activeElement.closest(".kx-row");
    if (!inside || !["PageDown", "PageUp", "Escape"].includes(event.key)) return;
    document.activeElement.blur();
    if (event.key === "PageDown") Reveal.next();
    if (event.key === "PageUp") Reveal.prev();
    event.preventDefault();
    event.stopPropagation();
  }

  async function start() {
    document.body.getBoundingClientRect(); // now the browser knows which fonts it needs
    await document.fonts.ready;
    fitAll();
    const own = document.querySelector(".reveal").appendChild(document.createElement("p"));
    own.className = "kxd-clock";
    own.hidden = true;
    await Reveal.initialize({
      width: 1280, height: 720, margin: 0, center: false, hash: true, slideNumber: "c/t",
      transition: "none", backgroundTransition: "none", controlsTutorial: false,
      embedded: !!speaker, pdfSeparateFragments: false, pdfMaxPagesPerSlide: 1,
      keyboardCondition: () => !document.activeElement.closest(".kx-row, .kxd-said"),
    });
    root.classList.add("kxd-ready");
    const bind = (code, name, description, does) => Reveal.addKeyBinding({ keyCode: code, key: name, description }, does);
    bind(83, "S", "Speaker's window: notes, clock, next slide", open);
    bind(77, "M", "Notes on this screen", notes);
    bind(67, "C", "Clock", toggleClock);
    bind(82, "R", "Clock from zero", restart);
    bind(68, "D", "Dark or light", () => { theme = root.dataset.theme === "dark" ? "light" : "dark"; paint(); });
    for (const name of ["slidechanged", "fragmentshown", "fragmenthidden", "paused", "resumed"])
      Reveal.on(name, () => { fill(); tell(); place(); });
    addEventListener("keydown", key, true);
    for (const name of ["input", "change"]) addEventListener(name, relay, true);
    setInterval(tell, 1000);
    if (speaker) { notes(); send({ hello: true }); }
  }
  document.addEventListener("DOMContentLoaded", start);
})();
