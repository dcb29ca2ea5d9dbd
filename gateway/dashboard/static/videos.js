"use strict";
// The frames of a video, played from its sheet while the pointer or the focus is on its tile.
(() => {
  const TILES = 16, COLUMNS = 4, PAUSE = 180;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let playing = null;

  function stop() {
    if (!playing) return;
    clearInterval(playing.timer);
    playing.canvas?.remove();
    playing = null;
  }

  function play(box) {
    stop();
    const mine = playing = { box };
    const sheet = new Image();
    sheet.onload = () => {
      if (playing !== mine) return;
      const poster = box.querySelector("img"), ratio = poster.naturalWidth / poster.naturalHeight || 16 / 9;
      const columns = sheet.naturalWidth / sheet.naturalHeight > ratio * 1.5 ? Math.round(sheet.naturalWidth / sheet.naturalHeight / ratio) : COLUMNS;
      const width = sheet.naturalWidth / Math.min(columns, COLUMNS), rows = Math.max(1, Math.round(sheet.naturalHeight / (width / ratio)));
      const height = sheet.naturalHeight / rows, count = Math.min(TILES, Math.min(columns, COLUMNS) * rows);
      const canvas = mine.canvas = document.createElement("canvas");
      canvas.width = width;
      canvas.height = height;
      canvas.setAttribute("aria-hidden", "true");
      const brush = canvas.getContext("2d");
      let n = 0;
      const draw = () => {
        brush.drawImage(sheet, n % COLUMNS * width, Math.floor(n / COLUMNS) * height, width, height, 0, 0, width, height);
        n = (n + 1) % count;
      };
      draw();
      box.append(canvas);
      mine.timer = setInterval(draw, PAUSE);
    };
    sheet.src = box.dataset.sheet;
  }

  const boxOf = (event) => event.target.closest?.(".tile")?.querySelector("[data-sheet]");
  for (const name of ["pointerover", "focusin"]) {
    document.addEventListener(name, (event) => {
      const box = boxOf(event);
      if (box && box !== playing?.box && !still.matches) play(box);
      else if (!box) stop();
    });
  }
  document.addEventListener("focusout", stop);
})();
