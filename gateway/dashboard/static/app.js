"use strict";
// What every page can do, by attributes of its elements. Every form and link works without this file too.
(() => {
  const FETCH = { "X-Onereel": "fetch" };
  const parse = (text) => new DOMParser().parseFromString(text, "text/html");
  const find = (selector, root = document) => root.querySelector(selector);
  const each = (selector, act, root = document) => root.querySelectorAll(selector).forEach(act);

  function announce(element) {
    prepare(element);
    element.dispatchEvent(new CustomEvent("onereel:swap", { bubbles: true }));
  }

  // Files that the next page names in its head and this one lacks. Styles first, so that nothing jumps.
  async function load(head) {
    const waits = [];
    each('link[rel="stylesheet"], script[src]', (wanted) => {
      const name = wanted.tagName === "LINK" ? "href" : "src";
      const address = wanted.getAttribute(name);
      if ([...document.head.querySelectorAll(wanted.tagName)].some((had) => had.getAttribute(name) === address)) return;
      const made = document.createElement(wanted.tagName);
      if (name === "href") made.rel = "stylesheet";
      waits.push(new Promise((done) => { made.onload = made.onerror = done; }));
      made.setAttribute(name, address);
      document.head.append(made);
    }, head);
    await Promise.all(waits);
  }

  async function show(page, address) {
    await load(page.head);
    document.title = page.title;
    document.body.replaceWith(document.adoptNode(page.body));
    if (address && address !== location.href) history.pushState(null, "", address);
    window.scrollTo(0, 0);
    find("h1")?.focus({ preventScroll: true });
    announce(document.body);
  }

  function swapped(page, selector) {
    const fresh = find(selector, page), old = find(selector);
    if (!fresh || !old) return null;
    const active = document.activeElement;
    const focused = old.contains(active) && active.id ? active.id : null;
    const caret = focused && active.selectionStart;
    document.adoptNode(fresh);
    each("details[id]", (fold) => { const same = find(`#${CSS.escape(fold.id)}`, fresh); if (same) same.open = fold.open; }, old);
    old.replaceWith(fresh);
    const again = focused && document.getElementById(focused);
    if (again) {
      again.focus({ preventScroll: true });
      if (typeof caret === "number") { try { again.setSelectionRange(caret, caret); } catch { /* no text field */ } }
    }
    announce(fresh);
    return fresh;
  }

  function signIn() {
    location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }

  async function get(address) {
    const answer = await fetch(address, { headers: FETCH });
    if (answer.status === 401) { signIn(); return null; }
    return answer;
  }

  // --- forms -----------------------------------------------------------------------------------

  function clearErrors(form) {
    each(".error", (note) => note.remove(), form);
    each("[aria-invalid]", (input) => {
      input.removeAttribute("aria-invalid");
      if (input.dataset.describedby !== undefined) {
        if (input.dataset.describedby) input.setAttribute("aria-describedby", input.dataset.describedby);
        else input.removeAttribute("aria-describedby");
      }
    }, form);
  }

  function inputOf(form, param) {
    if (!param) return null;
    const wanted = [param, `${param}[]`, param.split("[")[0], `${param.split("[")[0]}[]`];
    return wanted.map((name) => form.elements.namedItem(name)).map((item) => item instanceof RadioNodeList ? item[0] : item)
      .find((item) => item && item.type !== "hidden") || null;
  }

  function showError(form, told) {
    const note = document.createElement("p");
    note.className = "error";
    note.id = `error-${Math.random().toString(36).slice(2)}`;
    note.setAttribute("role", "alert");
    note.textContent = told.message;
    const input = inputOf(form, told.param);
    if (!input) { form.prepend(note); return; }
    input.closest("details:not([open])")?.setAttribute("open", "");
    input.setAttribute("aria-invalid", "true");
    input.dataset.describedby = input.getAttribute("aria-describedby") || "";
    input.setAttribute("aria-describedby", `${input.dataset.describedby} ${note.id}`.trim());
    (input.closest(".field, .check") || input).append(note);
    input.focus();
  }

  async function refusal(answer) {
    try {
      const told = (await answer.json()).error;
      if (told?.message) return told;
    } catch { /* no JSON */ }
    return { message: `The server answered ${answer.status}. Try again.` };
  }

  async function post(form, submitter) {
    const data = new FormData(form, submitter);
    const files = form.getAttribute("enctype") === "multipart/form-data";
    const address = submitter?.getAttribute("formaction") || form.getAttribute("action") || location.href;
    return fetch(address, { method: "POST", headers: FETCH, body: files ? data : new URLSearchParams(data) });
  }

  async function send(form, submitter) {
    if (form.dataset.busy) return;
    form.dataset.busy = "1";
    submitter?.setAttribute("aria-busy", "true");
    clearErrors(form);
    try {
      const answer = await post(form, submitter);
      if (answer.status === 401) { signIn(); return; }
      if (!answer.ok) { showError(form, await refusal(answer)); return; }
      const onward = /url=(.+)$/i.exec(answer.headers.get("refresh") || "");
      if (onward) { location.assign(onward[1]); return; }
      const page = parse(await answer.text());
      if (form.dataset.swap && !answer.redirected) swapped(page, form.dataset.swap);
      else await show(page, answer.redirected ? answer.url : null);
    } catch {
      showError(form, { message: "The server cannot be reached. Nothing may have been done: look before you send again." });
    } finally {
      delete form.dataset.busy;
      submitter?.removeAttribute("aria-busy");
    }
  }

  let latest = 0;
  async function look(address, selector) {
    const turn = ++latest;
    const answer = await get(address);
    if (!answer || turn !== latest) return;
    const page = parse(await answer.text());
    if (!answer.ok || !swapped(page, selector)) { location.assign(address); return; }
    await load(page.head);
    history.pushState(null, "", address);
  }

  function query(form) {
    const address = new URL(form.getAttribute("action") || location.pathname, location.href);
    address.search = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
    return address.href;
  }

  document.addEventListener("submit", (event) => {
    const form = event.target, method = (form.getAttribute("method") || "get").toLowerCase();
    if (event.defaultPrevented || method === "dialog") return;
    if (method === "post") {
      event.preventDefault();
      const question = event.submitter?.dataset.confirm || form.dataset.confirm;
      const go = () => send(form, event.submitter);
      if (question) confirmed(question, event.submitter).then((yes) => { if (yes) go(); });
      else go();
    } else if (form.dataset.swap) {
      event.preventDefault();
      look(query(form), form.dataset.swap);
    }
  });

  let typing = 0;
  document.addEventListener("input", (event) => {
    const form = event.target.closest?.("form[data-auto]");
    if (!form) return;
    clearTimeout(typing);
    typing = setTimeout(() => form.requestSubmit(), event.target.matches("input:not([type=checkbox]):not([type=radio])") ? 300 : 0);
  });

  // A question in a dialog of ours: true if the answer is yes.
  function confirmed(question, button) {
    return new Promise((answer) => {
      const dialog = document.createElement("dialog");
      const text = document.createElement("p"), row = document.createElement("form");
      const no = document.createElement("button"), yes = document.createElement("button");
      text.textContent = question;
      text.id = "question";
      dialog.setAttribute("aria-labelledby", "question");
      row.method = "dialog";
      row.className = "row";
      yes.value = "yes";
      yes.className = button?.classList.contains("danger") ? "danger" : "primary";
      yes.textContent = button?.textContent.trim() || "Yes";
      no.textContent = "Cancel";
      row.append(yes, no);
      dialog.append(text, row);
      dialog.addEventListener("close", () => { answer(dialog.returnValue === "yes"); dialog.remove(); button?.focus(); });
      document.body.append(dialog);
      dialog.showModal();
      no.focus();
    });
  }

  // --- clicks ----------------------------------------------------------------------------------

  async function copy(button) {
    const text = button.dataset.copy;
    try {
      await navigator.clipboard.writeText(text);
    } catch { // not over plain HTTP from elsewhere
      const area = document.createElement("textarea");
      area.value = text;
      (button.closest("dialog") || document.body).append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    const label = find("span", button) || button, said = label.textContent;
    label.textContent = "Copied";
    setTimeout(() => { label.textContent = said; }, 1500);
  }

  function switchTheme() {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("onereel-theme", root.dataset.theme); } catch { /* storage is off */ }
  }

  document.addEventListener("click", (event) => {
    const hit = (selector) => event.target.closest?.(selector);
    const link = hit("a[data-swap]");
    if (hit("[data-copy]")) copy(hit("[data-copy]"));
    else if (hit("[data-dialog]")) find(hit("[data-dialog]").dataset.dialog)?.showModal();
    else if (hit("[data-close]")) hit("dialog")?.close();
    else if (hit("[data-theme-switch]")) switchTheme();
    else if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey && event.button === 0) {
      event.preventDefault();
      look(link.href, link.dataset.swap);
    }
    each("details.menu[open]", (menu) => { if (!menu.contains(event.target)) menu.open = false; });
  });

  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && event.target.closest?.("details.menu[open]");
    if (menu) { menu.open = false; find("summary", menu).focus(); }
  });

  window.addEventListener("popstate", () => location.reload());

  // --- what changes by itself ------------------------------------------------------------------

  async function refresh(element) {
    const answer = await get(element.dataset.src || location.href).catch(() => null);
    if (!answer?.ok || !element.isConnected) return;
    const page = parse(await answer.text());
    if (element.isConnected) swapped(page, `#${CSS.escape(element.id)}`);
  }

  const due = new WeakMap();
  setInterval(() => {
    if (document.hidden) return;
    const now = Date.now();
    each("[data-refresh][id]", (element) => {
      if (!due.has(element)) due.set(element, now + Number(element.dataset.refresh) * 1000);
      if (now < due.get(element) || element.contains(document.activeElement) && document.activeElement.matches("input, textarea, select")) return;
      due.set(element, Infinity);
      refresh(element).finally(() => due.set(element, Date.now() + Number(element.dataset.refresh) * 1000));
    });
  }, 250);

  const streams = new Map(); // by the id of the element that listens
  function listen() {
    for (const [id, stream] of streams) {
      const element = document.getElementById(id);
      if (element?.dataset.events !== stream.address) { stream.source.close(); streams.delete(id); }
    }
    each("[data-events][id]", (element) => {
      if (streams.has(element.id)) return;
      const source = new EventSource(element.dataset.events), id = element.id;
      streams.set(id, { address: element.dataset.events, source });
      const heard = () => { const there = document.getElementById(id); if (there) refresh(there); };
      for (const name of ["video.updated", "video.completed", "video.failed"]) source.addEventListener(name, heard);
    });
  }

  // Sections one above the other become tabs; the choice is kept for the next page.
  function tabbed(box) {
    const sections = [...box.querySelectorAll("[data-tab]")], list = document.createElement("div");
    list.className = "tabs";
    list.setAttribute("role", "tablist");
    list.setAttribute("aria-label", "Language");
    const choose = (chosen, focus) => {
      sections.forEach((section, n) => {
        const is = section === chosen;
        section.hidden = !is;
        list.children[n].setAttribute("aria-selected", String(is));
        list.children[n].tabIndex = is ? 0 : -1;
        if (is && focus) list.children[n].focus();
      });
      try { localStorage.setItem("onereel-tab", chosen.dataset.tab); } catch { /* storage is off */ }
    };
    sections.forEach((section, n) => {
      const tab = document.createElement("button");
      tab.type = "button";
      tab.setAttribute("role", "tab");
      tab.textContent = section.dataset.tab;
      section.setAttribute("role", "tabpanel");
      section.setAttribute("aria-label", section.dataset.tab);
      tab.addEventListener("click", () => choose(section));
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (step) choose(sections[(n + step + sections.length) % sections.length], true);
      });
      list.append(tab);
    });
    box.prepend(list);
    let kept = null;
    try { kept = localStorage.getItem("onereel-tab"); } catch { /* storage is off */ }
    choose(sections.find((section) => section.dataset.tab === kept) || sections[0]);
  }

  // --- what is made nicer ----------------------------------------------------------------------

  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto", style: "short" });
  const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
  const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  function tell(time) {
    const at = new Date(time.dateTime), seconds = (at - Date.now()) / 1000;
    if (Number.isNaN(at.getTime())) return;
    time.title = exact.format(at);
    if (Math.abs(seconds) > 7 * 86400 || time.dataset.form === "absolute") { time.textContent = absolute.format(at); return; }
    const [unit, length] = UNITS.find(([, size]) => Math.abs(seconds) >= size) || UNITS.at(-1);
    time.textContent = relative.format(Math.round(seconds / length), unit);
  }

  const wide = matchMedia("(min-width: 60rem)");
  const drawer = () => each("details.drawer", (menu) => { menu.open = wide.matches; });
  wide.addEventListener("change", drawer);

  function prepare(root) {
    each("time[datetime]", tell, root);
    each(".scroll", (box) => { // what can be scrolled can be reached by the keyboard
      if (box.scrollWidth > box.clientWidth && !box.hasAttribute("tabindex")) {
        box.tabIndex = 0;
        box.setAttribute("role", "group");
        box.setAttribute("aria-label", "Table, scrolls sideways");
      }
    }, root);
    each("[data-tabs]", (box) => { if (!box.querySelector("[role=tablist]")) tabbed(box); }, root.parentNode || root);
    if (root === document.body) drawer();
    listen();
  }

  setInterval(() => each("time[datetime]", tell), 30000);
  prepare(document.body);
})();
