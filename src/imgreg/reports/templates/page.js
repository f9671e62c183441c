"use strict";
// Values at the pointer or at the arrow keys, for every figure that carries them (reports/hover.py).
for (const figure of document.querySelectorAll("[data-hover]")) {
  const values = JSON.parse(figure.dataset.hover);
  const line = figure.querySelector(".hover-line");
  const text = figure.querySelector(".hover-text");
  const idle = text.textContent;
  let now = -1;
  const show = (i) => {
    now = i;
    line.hidden = false;
    line.style.left = 100 * values.at[i] + "%";
    line.style.top = 100 * values.top + "%";
    line.style.height = 100 * (values.bottom - values.top) + "%";
    text.textContent = values.texts[i];
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
    values.at.forEach((at, i) => {
      if (Math.abs(at - x) < Math.abs(values.at[best] - x)) best = i;
    });
    show(best);
  });
  figure.addEventListener("pointerleave", () => {
    if (document.activeElement !== figure) clear();
  });
  figure.addEventListener("blur", clear);
  figure.addEventListener("keydown", (event) => {
    const last = values.at.length - 1;
    const to = { ArrowRight: now + 1, ArrowLeft: now < 0 ? last : now - 1, Home: 0, End: last }[event.key];
    if (event.key === "Escape") clear();
    if (to === undefined) return;
    event.preventDefault();
    show(Math.min(Math.max(to, 0), last));
  });
}
// Photos: heatmaps on and off, only those of one cell of the confusion matrix, and one at a time, large.
for (const copy of document.querySelectorAll("[data-copy]")) {
  copy.src = document.querySelector(`#${copy.dataset.copy} img`).src;
}
for (const button of document.querySelectorAll("[data-heat]")) {
  button.addEventListener("click", () => {
    button.setAttribute("aria-pressed", document.body.classList.toggle("with-heat"));
  });
}
for (const button of document.querySelectorAll("[data-filter]")) {
  button.addEventListener("click", () => {
    const cell = button.getAttribute("aria-pressed") === "true" ? null : button.dataset.filter;
    for (const other of document.querySelectorAll("[data-filter]")) {
      other.setAttribute("aria-pressed", other.dataset.filter === cell);
    }
    for (const photo of document.querySelectorAll("[data-cell]")) {
      photo.hidden = cell !== null && photo.dataset.cell !== cell;
    }
  });
}
const dialog = document.querySelector("#zoom");
if (dialog) {
  const text = dialog.querySelector("span");
  let now = null;
  const show = (photo) => {
    now = photo;
    const map = document.body.classList.contains("with-heat") && photo.querySelector(".map");
    const picture = map || photo.querySelector("img");
    const large = dialog.querySelector("img") ?? dialog.insertBefore(new Image(), dialog.firstChild);
    large.src = picture.src;
    large.alt = picture.alt;
    text.textContent = [...photo.querySelectorAll("strong, small")].map((e) => e.textContent).join(" · ");
    if (!dialog.open) dialog.showModal();
  };
  const step = (by) => {
    const photos = [...document.querySelectorAll(".photos li:not([hidden]):has(.open)")];
    show(photos[(photos.indexOf(now) + by + photos.length) % photos.length]);
  };
  for (const button of document.querySelectorAll(".open")) {
    button.addEventListener("click", () => show(button.closest("li")));
  }
  for (const link of document.querySelectorAll(".worst a:has(img)")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      show(document.querySelector(link.getAttribute("href")));
    });
  }
  const [previous, next, close] = dialog.querySelectorAll("button");
  previous.addEventListener("click", () => step(-1));
  next.addEventListener("click", () => step(1));
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) step(by);
    const heat = document.querySelector("[data-heat]");
    if (event.key === "h" && heat) {
      heat.click();
      show(now);
    }
  });
}
// A button beside each command, which copies it; where the browser refuses, the command is selected.
for (const code of document.querySelectorAll("pre:not(details pre) > code")) {
  const button = document.createElement("button");
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
  });
  code.parentElement.append(button);
}
