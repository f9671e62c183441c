"use strict";
// Values at the pointer or at the arrow keys, for every figure that carries them (reports/hover.py).
for (const figure of document.querySelectorAll("[data-hover]")) {
  const told = JSON.parse(figure.dataset.hover);
  const line = figure.querySelector(".hover-line");
  const text = figure.querySelector(".hover-text");
  const idle = text.textContent;
  let now = -1;
  const show = (i) => {
    now = i;
    line.hidden = false;
    line.style.left = 100 * told.at[i] + "%";
    line.style.top = 100 * told.top + "%";
    line.style.height = 100 * (told.bottom - told.top) + "%";
    text.textContent = told.texts[i];
  };
  const clear = () => {
    now = -1;
    line.hidden = true;
    text.textContent = idle;
  };
  figure.addEventListener("pointermove", (event) => {
    const box = figure.querySelector(".plot").getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width;
    let best = 0;
    told.at.forEach((at, i) => {
      if (Math.abs(at - x) < Math.abs(told.at[best] - x)) best = i;
    });
    show(best);
  });
  figure.addEventListener("pointerleave", () => {
    if (document.activeElement !== figure) clear();
  });
  figure.addEventListener("blur", clear);
  figure.addEventListener("keydown", (event) => {
    const last = told.at.length - 1;
    const to = { ArrowRight: now + 1, ArrowLeft: now < 0 ? last : now - 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") clear();
    if (to === undefined) return;
    event.preventDefault();
    show(Math.min(Math.max(to, 0), last));
  });
}
