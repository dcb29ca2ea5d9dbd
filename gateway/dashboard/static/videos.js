"use strict";
// The frames of a video, played from its sheet while the pointer or the focus is on its tile.
(() => {
  const SIDE = 320, PAUSE = 180; // the longer side of a frame in the sheet, unless the video is smaller
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
      const poster = box.querySelector("img"), shrunk = Math.min(1, SIDE / Math.max(poster.naturalWidth, poster.naturalHeight, 1));
      const columns = Math.max(1, Math.round(sheet.naturalWidth / (poster.naturalWidth * shrunk))), width = sheet.naturalWidth / columns;
      const rows = Math.max(1, Math.round(sheet.naturalHeight / (poster.naturalHeight * shrunk))), height = sheet.naturalHeight / rows;
      const canvas = mine.canvas = document.createElement("canvas");
      canvas.width = width;
      canvas.height = height;
      canvas.setAttribute("aria-hidden", "true");
      const brush = canvas.getContext("2d", { willReadFrequently: true });
      const show = (n) => brush.drawImage(sheet, n % columns * width, Math.floor(n / columns) * height, width, height, 0, 0, canvas.width, canvas.height);
      const empty = (n) => { // places of the last row that no frame was left for
        show(n);
        return brush.getImageData(0, 0, canvas.width, canvas.height).data.every((value, at) => at % 4 === 3 || value < 6);
      };
      let count = columns * rows, n = 0;
      while (count > (rows - 1) * columns + 1 && empty(count - 1)) count -= 1;
      const draw = () => { show(n); n = (n + 1) % count; };
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
  document.documentElement.addEventListener("pointerleave", stop);

  // Another page of the gallery begins at its top, for the eyes and for the keyboard.
  let turning = false;
  document.addEventListener("click", (event) => { if (event.target.closest?.(".pager a")) turning = true; });
  document.addEventListener("onereel:swap", (event) => {
    stop();
    if (!turning || event.target.id !== "gallery") return;
    turning = false;
    window.scrollTo(0, 0);
    event.target.querySelector("a")?.focus({ preventScroll: true });
  });

  // A video that has just ended: what can be done with it, and what is known of its file, is looked at once more.
  document.addEventListener("onereel:swap", (event) => {
    if (event.target.id !== "video" || event.target.dataset.events) return;
    for (const id of ["video-actions", "video-more"]) document.getElementById(id)?.setAttribute("data-refresh", "0.1");
  });
})();
