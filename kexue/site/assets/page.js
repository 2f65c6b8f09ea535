/* What every page does, in place of the theme's scripts: color mode, search field, the two side
 * columns, menus, the mark in the page's contents, and what scrolls sideways.
 * The first part runs before anything is painted, so that a dark page never flashes white. */
(() => {
  "use strict";
  const root = document.documentElement, dark = matchMedia("(prefers-color-scheme: dark)");
  const kept = (name) => { try { return localStorage.getItem(name); } catch { return null; } };
  const keep = (name, value) => { try { localStorage.setItem(name, value); } catch { /* not kept */ } };

  function paint(mode) {
    root.dataset.mode = mode === "light" || mode === "dark" ? mode : "auto";
    root.dataset.theme = root.dataset.mode !== "auto" ? mode : dark.matches ? "dark" : "light";
  }
  paint(kept("mode"));
  dark.addEventListener("change", () => paint(root.dataset.mode));
  // The letters of formulas are asked for before the first formula is read: with letters that come
  // later, lines would break anew. Those that do not come are missed where they are used.
  for (const font of ["1em KaTeX_Main", "italic 1em KaTeX_Math"]) document.fonts.load(font).catch(() => {});

  const find = (selector) => document.querySelector(selector);
  const press = {
    print: () => print(),
    fullscreen: () => (document.fullscreenElement ? document.exitFullscreen() : root.requestFullscreen()),
    mode() {
      const modes = dark.matches ? ["auto", "light", "dark"] : ["auto", "dark", "light"];
      paint(modes[(modes.indexOf(root.dataset.mode) + 1) % 3]);
      keep("mode", root.dataset.mode);
    },
    search() {
      const dialog = find("#pst-search-dialog");
      if (dialog.open) return dialog.close();
      const field = find("article form.bd-search input"); // the search page has a field of its own
      if (field) return field.focus();
      dialog.showModal();
      find("#pst-search-dialog input").select();
    },
    primary: () => (matchMedia("(min-width: 992px)").matches ? find("#pst-primary-sidebar").classList.toggle("pst-sidebar-hidden") : column("primary")),
    secondary: () => column("secondary"),
  };

  /* On a small screen a side column opens over the page: its content moves into a dialog. */
  function column(which) {
    const aside = find(`#pst-${which}-sidebar`), dialog = find(`#pst-${which}-sidebar-modal`);
    const move = (from, to) => { to.append(...from.childNodes); to.className = from.className; from.className = ""; };
    move(aside, dialog);
    dialog.showModal();
    dialog.addEventListener("close", () => move(dialog, aside), { once: true });
  }

  function menus(open) {
    for (const button of document.querySelectorAll("[data-bs-toggle=dropdown]")) {
      button.nextElementSibling.classList.toggle("show", button === open);
      button.setAttribute("aria-expanded", button === open);
    }
  }

  document.addEventListener("click", (event) => {
    const target = event.target, menu = target.closest("[data-bs-toggle=dropdown]");
    menus(menu?.getAttribute("aria-expanded") === "true" ? null : menu);
    const button = target.closest("[data-kx-press]");
    if (button) press[button.dataset.kxPress]();
    if (target.nodeName === "DIALOG" || target.closest("dialog a")) target.closest("dialog").close();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      const button = find("[data-bs-toggle=dropdown][aria-expanded=true]");
      menus(null);
      button?.focus();
      find("dialog[open]")?.close();
    }
    if ((event.ctrlKey || event.metaKey) && !event.shiftKey && !event.altKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      press.search();
    }
  });

  /* What scrolls sideways can be reached by keyboard. */
  const SCROLLS = ".katex-display, .pst-scrollable-table-container, div.highlight pre, .text_html, .kx-how, .kx-figure-box, .kx-part";
  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries)
      if (target.scrollWidth > target.clientWidth + 1) target.setAttribute("tabindex", "0");
      else target.removeAttribute("tabindex");
  });

  /* The entry of the page's contents that is being read: of the innermost section that reaches over
   * a line at a third of the window. */
  function follow() {
    const entries = new Map(), over = new Set();
    for (const link of document.querySelectorAll("#pst-page-toc-nav a[href^='#']")) {
      const section = document.getElementById(link.hash.slice(1));
      if (section) entries.set(section, link);
    }
    const watch = new IntersectionObserver((seen) => {
      for (const { target, isIntersecting } of seen) over[isIntersecting ? "add" : "delete"](target);
      const read = [...entries.keys()].filter((section) => over.has(section)).pop();
      for (const [section, link] of entries) {
        link.classList.toggle("active", section === read);
        if (section === read) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      }
    }, { rootMargin: "-33% 0px -67% 0px" });
    for (const section of entries.keys()) watch.observe(section);
  }

  /* On paper a formula wider than its line is set smaller, or it would run into its number. */
  const LINE = 540; // pixels, on the narrower of A4 and Letter, beside the number
  addEventListener("beforeprint", () => {
    for (const box of document.querySelectorAll("div.math > .katex-display")) {
      const width = [...box.querySelectorAll(".katex-html > .base")].reduce((sum, part) => sum + part.offsetWidth, 0);
      box.style.fontSize = width > LINE ? `${LINE / width}em` : "";
    }
  });
  addEventListener("afterprint", () => {
    for (const box of document.querySelectorAll("div.math > .katex-display")) box.style.fontSize = "";
  });

  /* A symbol says what it is: to a mouse by its title, to a finger by the same words below it. */
  function tell(symbol) {
    const box = find(".kx-meaning") ?? document.body.appendChild(Object.assign(document.createElement("div"), { className: "kx-meaning", popover: "auto" }));
    const at = symbol.getBoundingClientRect();
    box.textContent = symbol.title;
    box.style.left = `${Math.max(8, Math.min(at.left, innerWidth - 290))}px`;
    box.style.top = `${at.bottom + 6}px`;
    box.showPopover();
  }
  document.addEventListener("click", (event) => {
    const symbol = event.target.closest(".math[title]");
    if (symbol) tell(symbol);
  });

  document.addEventListener("DOMContentLoaded", () => {
    for (const box of document.querySelectorAll(SCROLLS)) sizes.observe(box);
    follow();
  });
})();
