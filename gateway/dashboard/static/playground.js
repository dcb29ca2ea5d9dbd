"use strict";
// The form of the playground: fields that follow the models, the price that follows the fields, images by drop and paste.
(() => {
  const FETCH = { "X-Onereel": "fetch" };
  const form = () => document.getElementById("make");
  const parse = (text) => new DOMParser().parseFromString(text, "text/html");

  // --- price ---
  let turn = 0, waiting = 0;
  async function quote() {
    const make = form(), mine = ++turn;
    if (!make) return;
    const data = new FormData(make);
    for (const [name, value] of [...data]) if (value instanceof File || name.startsWith("quoted[")) data.delete(name);
    if (!data.get("prompt")) data.set("prompt", make.elements.namedItem("prompt").placeholder || "a video");
    const answer = await fetch(make.dataset.quote, { method: "POST", headers: FETCH, body: new URLSearchParams(data) }).catch(() => null);
    if (!answer || mine !== turn) return;
    const price = document.getElementById("price");
    if (!answer.ok) {
      const told = await answer.json().then((body) => body.error.message, () => "The price is not known just now.");
      const note = document.createElement("p");
      note.className = "muted";
      note.textContent = told;
      price.replaceChildren(note);
      return;
    }
    const page = parse(await answer.text());
    price.replaceWith(document.adoptNode(page.getElementById("price")));
    refuse(make);
    const programs = document.querySelector("#programs .programs"), fresh = page.querySelector("#new-programs .programs");
    if (programs && fresh) { // the tabs stay, the texts change
      const texts = fresh.querySelectorAll("[data-tab]");
      programs.querySelectorAll("[data-tab]").forEach((section, n) => {
        section.querySelector("code").textContent = texts[n].querySelector("code").textContent;
        section.querySelector("[data-copy]").dataset.copy = texts[n].querySelector("[data-copy]").dataset.copy;
      });
    }
  }
  // What a model refuses stands at the field too.
  function refuse(make) {
    make.querySelectorAll(".refused").forEach((note) => note.remove());
    make.querySelectorAll("[data-refused]").forEach((input) => { input.removeAttribute("aria-invalid"); delete input.dataset.refused; });
    for (const told of document.querySelectorAll("#price [data-param]")) {
      const name = told.dataset.param.split("[")[0];
      const drop = name && make.querySelector(`[data-drop="${CSS.escape(name)}"]`);
      const input = drop ? drop.querySelector("input[type=file]") : name && make.elements.namedItem(name);
      if (!input?.closest) continue;
      const note = document.createElement("p");
      note.className = "error refused";
      note.textContent = told.textContent;
      input.setAttribute("aria-invalid", "true");
      input.dataset.refused = "";
      input.closest("details:not([open])")?.setAttribute("open", "");
      (drop || input.closest(".field")).append(note);
    }
  }
  function soon() {
    clearTimeout(waiting);
    waiting = setTimeout(quote, 250);
  }

  // --- fields ---
  async function refit() {
    const make = form();
    const said = new URLSearchParams([...new FormData(make)].filter(([name, value]) => typeof value === "string" && value && name !== "csrf" && !name.startsWith("quoted[")));
    const open = document.getElementById("models").open;
    const answer = await fetch(`/playground?${said}`, { headers: FETCH }).catch(() => null);
    if (!answer?.ok) return;
    const page = parse(await answer.text());
    const kept = new Map([...make.querySelectorAll("[data-drop]")].map((drop) => [drop.dataset.drop, drop]));
    document.getElementById("fields").replaceWith(document.adoptNode(page.getElementById("fields")));
    for (const drop of make.querySelectorAll("[data-drop]")) if (kept.has(drop.dataset.drop)) drop.replaceWith(kept.get(drop.dataset.drop));
    document.querySelector("#models > summary").replaceWith(document.adoptNode(page.querySelector("#models > summary")));
    document.getElementById("models").open = open;
    soon();
  }

  document.addEventListener("input", (event) => {
    if (!event.target.closest?.("#make")) return;
    if (event.target.dataset.find) {
      const words = event.target.value.toLowerCase().split(/\s+/);
      document.querySelectorAll(`${event.target.dataset.find} > li`).forEach((item) => {
        const text = item.dataset.text.toLowerCase();
        item.hidden = !words.every((word) => text.includes(word));
      });
    } else if (event.target.name === "models[]") {
      const most = Number(document.getElementById("model-list").dataset.most);
      const boxes = [...form().querySelectorAll('[name="models[]"]:checked')];
      if (boxes.length > most) event.target.checked = false;
      refit();
    } else if (event.target.type !== "file") soon();
  });

  document.addEventListener("click", (event) => {
    const example = event.target.closest?.("[data-example]");
    if (example) {
      const prompt = form().elements.namedItem("prompt");
      prompt.value = example.dataset.example;
      prompt.focus();
      soon();
    }
    const frame = event.target.closest?.("[data-frame]");
    if (frame) useFrame(frame);
    const remove = event.target.closest?.("[data-remove]");
    if (remove) {
      const drop = remove.closest("[data-drop]");
      remove.closest("li").remove();
      drop.querySelector("input[type=file]").focus();
      soon();
    }
  });

  // --- images ---
  async function keep(drop, files) {
    const list = drop.querySelector(".kept"), most = Number(drop.dataset.most);
    for (const file of files) {
      if (!file.type.startsWith("image/")) continue;
      const data = new FormData();
      data.set("csrf", form().elements.namedItem("csrf").value);
      data.set("image", file);
      drop.querySelector(".error")?.remove();
      const answer = await fetch("/playground/images", { method: "POST", headers: FETCH, body: data }).catch(() => null);
      if (!answer?.ok) {
        const note = document.createElement("p");
        note.className = "error";
        note.setAttribute("role", "alert");
        note.textContent = answer ? (await answer.json()).error.message : "The image could not be sent.";
        drop.append(note);
        continue;
      }
      const { file_id: id, name } = await answer.json();
      while (list.children.length >= most) list.firstElementChild.remove();
      const item = document.createElement("li"), image = document.createElement("img");
      const input = document.createElement("input"), remove = document.createElement("button");
      image.src = URL.createObjectURL(file);
      image.alt = name;
      input.type = "hidden";
      input.name = drop.dataset.many ? `${drop.dataset.drop}[][file_id]` : `${drop.dataset.drop}[file_id]`;
      input.value = id;
      remove.type = "button";
      remove.className = "small";
      remove.dataset.remove = "";
      remove.textContent = "Remove";
      remove.setAttribute("aria-label", `Remove ${name}`);
      item.append(image, input, remove);
      list.append(item);
    }
    drop.querySelector("input[type=file]").value = "";
    soon();
  }

  // The picture that a player shows now becomes the first frame of the next video.
  function useFrame(button) {
    const drop = document.querySelector('[data-drop="input_reference"]'), player = button.closest(".run").querySelector("video");
    if (!drop) { button.textContent = "The chosen model takes no first frame"; return; }
    const canvas = document.createElement("canvas");
    canvas.width = player.videoWidth;
    canvas.height = player.videoHeight;
    if (!canvas.width) return;
    canvas.getContext("2d").drawImage(player, 0, 0);
    canvas.toBlob((blob) => {
      keep(drop, [new File([blob], "frame.png", { type: "image/png" })]);
      drop.scrollIntoView({ block: "center" });
    }, "image/png");
  }

  // Images are sent when they are dropped: an empty file beside their id would say it twice.
  document.addEventListener("formdata", (event) => {
    if (event.target.id !== "make") return;
    for (const [name, value] of [...event.formData]) if (value instanceof File && !value.size) event.formData.delete(name);
  });
  document.addEventListener("change", (event) => {
    const drop = event.target.type === "file" && event.target.closest("[data-drop]");
    if (drop) keep(drop, event.target.files);
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    document.addEventListener(name, (event) => {
      const drop = event.target.closest?.("[data-drop]");
      if (!drop) return;
      event.preventDefault();
      drop.classList.toggle("over", name === "dragover");
      if (name === "drop") keep(drop, event.dataTransfer.files);
    });
  }
  document.addEventListener("paste", (event) => {
    const drop = event.target.closest?.("#make") && document.querySelector("[data-drop]");
    if (drop && event.clipboardData.files.length) { event.preventDefault(); keep(drop, event.clipboardData.files); }
  });

  document.addEventListener("onereel:swap", (event) => { if (event.target.querySelector?.("#make")) soon(); });
  if (form()) soon();
})();
