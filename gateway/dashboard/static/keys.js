"use strict";
// Search within a list of choices: `data-filter="#list"` on an input.
document.addEventListener("input", (event) => {
  const input = event.target.closest?.("[data-filter]");
  const list = input && document.querySelector(input.dataset.filter);
  if (!list) return;
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const choice of list.children) {
    const text = choice.textContent.toLowerCase();
    choice.hidden = !choice.querySelector(":checked") && !words.every((word) => text.includes(word));
  }
});
