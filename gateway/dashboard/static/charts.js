"use strict";
// The values of the bucket under the pointer, or the one that the arrow keys have reached.
(() => {
  function tipOf(figure) {
    let tip = figure.querySelector(".tip");
    if (!tip) {
      tip = document.createElement("div");
      tip.className = "tip";
      tip.setAttribute("role", "status");
      figure.append(tip);
    }
    return tip;
  }

  function show(hit) {
    const figure = hit.closest(".chart"), tip = tipOf(figure);
    figure.querySelectorAll(".hit.at").forEach((each) => each.classList.remove("at"));
    hit.classList.add("at");
    hit.querySelector("title")?.remove(); // the browser's own would cover ours
    tip.hidden = false;
    tip.textContent = hit.dataset.values;
    const box = figure.getBoundingClientRect(), bar = hit.getBoundingClientRect();
    const left = bar.left - box.left + bar.width / 2 - tip.offsetWidth / 2;
    tip.style.left = `${Math.max(0, Math.min(left, box.width - tip.offsetWidth))}px`;
    tip.style.top = `${bar.top - box.top + 4}px`;
  }

  function hide(figure) {
    const tip = figure?.querySelector(".tip");
    if (tip) tip.hidden = true;
    figure?.querySelectorAll(".hit.at").forEach((each) => each.classList.remove("at"));
  }

  document.addEventListener("pointerover", (event) => {
    const hit = event.target.closest?.(".chart .hit");
    if (hit) show(hit);
    else document.querySelectorAll(".chart:not(:focus-within)").forEach(hide);
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.matches?.("[data-chart]")) hide(event.target.closest(".chart"));
  });
  document.addEventListener("keydown", (event) => {
    const chart = event.target.closest?.("[data-chart]"), step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!chart || !step) return;
    event.preventDefault();
    const hits = [...chart.querySelectorAll(".hit")], at = hits.findIndex((hit) => hit.classList.contains("at"));
    const next = at < 0 ? (step > 0 ? 0 : hits.length - 1) : Math.max(0, Math.min(hits.length - 1, at + step));
    if (hits[next]) show(hits[next]);
  });
})();
