"use strict";
// Decisions on doubtful labels, by keys or buttons. They are saved as a file, a manifest that `imgreg train` reads, or
// sent to where the page says: `imgreg serve` then writes the manifest.
const { manifest, cards, saveTo } = JSON.parse(document.querySelector("#raw").textContent);
const shown = [...document.querySelectorAll(".cards li")];
const progress = document.querySelector("#progress");
const undo = document.querySelector("#undo");
const decisions = cards.map((card) => card.decision ?? null);
const history = []; // [card, its decision before]
let now = 0;
let isSaved = true;

const draw = () => {
  shown.forEach((card, i) => {
    card.classList.toggle("current", i === now);
    card.dataset.decided = decisions[i] ?? "";
    for (const button of card.querySelectorAll("[data-decision]")) {
      button.setAttribute("aria-pressed", button.dataset.decision === decisions[i]);
    }
  });
  progress.textContent = `${decisions.filter(Boolean).length} of ${cards.length} reviewed`;
  undo.disabled = history.length === 0;
};
const go = (i) => {
  if (!shown.length) return;
  now = Math.min(Math.max(i, 0), shown.length - 1);
  draw();
  shown[now].focus({ preventScroll: true });
  shown[now].scrollIntoView({ block: "center" });
};
const decide = (i, decision) => {
  if (!shown.length) return;
  history.push([i, decisions[i]]);
  decisions[i] = decision;
  isSaved = false;
  const next = decisions.findIndex((one, j) => j > i && one === null);
  go(next < 0 ? i : next);
};
const takeBack = () => {
  if (!history.length) return;
  const [i, before] = history.pop();
  decisions[i] = before;
  go(i);
};
const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
const send = async () => {
  const sent = JSON.stringify(Object.fromEntries(cards.map((card, i) => [card.photo, decisions[i]])));
  let says = "The server cannot be reached: not saved";
  try {
    const response = await fetch(saveTo, { method: "POST", body: sent });
    const answer = await response.json();
    isSaved = response.ok;
    says = response.ok ? `Saved ${decisions.filter(Boolean).length} decisions` : answer.error;
  } catch {
    isSaved = false;
  }
  progress.textContent = says;
};
const save = () => {
  if (saveTo) return send();
  const changes = new Map(cards.map((card, i) => [card.photo, { card, decision: decisions[i] }]));
  const hasSplit = manifest.some(([, , split]) => split);
  const lines = [hasSplit ? "path,label,split" : "path,label"];
  manifest.forEach(([path, label, split], i) => {
    const { card, decision } = changes.get(i) ?? {};
    if (decision === "drop") return;
    const row = [path, decision === "flip" ? card.other : label, ...(hasSplit ? [split] : [])];
    lines.push(row.map(cell).join(","));
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
  link.download = "fixes.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  isSaved = true;
};

shown.forEach((card, i) => {
  card.addEventListener("click", () => {
    now = i;
    draw();
  });
  for (const button of card.querySelectorAll("[data-decision]")) {
    button.addEventListener("click", (event) => {
      event.stopPropagation();
      decide(i, button.dataset.decision);
    });
  }
});
undo.addEventListener("click", takeBack);
document.querySelector("#save").addEventListener("click", save);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const act = {
    k: () => decide(now, "keep"),
    f: () => decide(now, "flip"),
    d: () => decide(now, "drop"),
    u: takeBack,
    s: save,
    ArrowRight: () => go(now + 1),
    ArrowLeft: () => go(now - 1),
  }[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});
window.addEventListener("beforeunload", (event) => {
  if (!isSaved) event.preventDefault();
});
draw();
