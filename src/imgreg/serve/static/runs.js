"use strict";
// Sorting, filtering and choosing runs; the form itself leads to the comparison.
const MOST = 7;
const list = document.querySelector("#entries");
if (list) {
  const rows = [...list.children];
  const status = document.querySelector("#status");
  const order = (by) => (a, b) => {
    if (by === "created") return a.dataset.created < b.dataset.created ? 1 : -1;
    if (by === "name") return a.dataset.name < b.dataset.name ? -1 : 1;
    return Number(a.dataset[by].replace("inf", "Infinity")) - Number(b.dataset[by].replace("inf", "Infinity"));
  };
  const tell = () => {
    const chosen = rows.filter((row) => row.querySelector("input:checked")).length;
    const shown = rows.filter((row) => !row.hidden).length;
    document.querySelector("#go").disabled = chosen < 2 || chosen > MOST;
    const many = chosen > MOST ? `; at most ${MOST} can be compared` : chosen === 1 ? "; choose one more to compare" : "";
    status.textContent = `${shown} of ${rows.length}${chosen ? `, ${chosen} chosen${many}` : ""}`;
  };
  document.querySelector("#sort").addEventListener("change", (event) => {
    list.append(...rows.sort(order(event.target.value)));
  });
  document.querySelector("#filter").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/);
    for (const row of rows) row.hidden = !words.every((word) => row.dataset.text.includes(word));
    tell();
  });
  document.querySelector("#filter").addEventListener("keydown", (event) => {
    if (event.key === "Enter") event.preventDefault();
  });
  list.addEventListener("change", tell);
  tell();
}
