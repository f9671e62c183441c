"use strict";
// A training or label check as it goes: curves, stage and messages, asked for every second until it has ended.
const place = location.pathname;
const [status, progress] = [document.querySelector("#status"), document.querySelector("#progress")];
const [stop, resume] = [document.querySelector("#stop"), document.querySelector("#resume")];
const links = document.querySelectorAll("[data-to]"); // to what was made
const [loss, accuracy] = [document.querySelector("#loss"), document.querySelector("#accuracy")];
const error = document.querySelector("#error");
let drawn = "";
let timer = 0;

const series = (update, figure) => [
  { name: "train", values: update[`train_${figure}`], colour: 0, dashed: false },
  { name: "validation", values: update[`val_${figure}`], colour: 1, dashed: false },
];
const show = (update) => {
  const running = update.state === "running";
  const nEpochs = update.val_loss.length;
  const stage = `${update.stage}${update.total > 1 ? `: ${update.done} of ${update.total}` : ""}`;
  status.textContent = running ? stage : `${update.state}${nEpochs ? ` after ${nEpochs} epochs` : ""}`;
  progress.hidden = !running && update.state !== "stopping";
  if (update.total > 1) {
    progress.max = update.total;
    progress.value = update.done;
  } else progress.removeAttribute("value");
  stop.hidden = !running;
  resume.hidden = !["stopped", "failed"].includes(update.state);
  resume.textContent = update.state === "failed" ? "Try again" : "Resume";
  for (const link of links) {
    link.hidden = update.state !== "finished";
    link.href = link.dataset.to.replace("NAME", () => encodeURIComponent(update.made));
  }
  error.hidden = !update.error;
  error.firstElementChild.textContent = update.error;
  document.querySelector("#lines").replaceChildren(
    ...update.lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })),
  );
  const key = JSON.stringify([update.val_loss, update.train_loss]);
  if (key === drawn || !loss) return; // what the pointer shows stays
  drawn = key;
  drawCurves(loss, { title: "Loss (nats)", series: series(update, "loss") });
  drawCurves(accuracy, { title: "Accuracy", series: series(update, "accuracy"), high: 1 });
};
const watch = async () => {
  clearTimeout(timer);
  try {
    const response = await fetch(`${place}/state`);
    const update = await response.json();
    if (!response.ok) throw new Error(update.error);
    show(update);
    if (!["running", "stopping"].includes(update.state)) return;
  } catch (failure) {
    status.textContent = failure instanceof TypeError ? "The server cannot be reached." : failure.message;
  }
  timer = setTimeout(watch, 1000);
};
const act = async (what) => {
  const response = await fetch(`${place}/${what}`, { method: "POST" });
  const update = await response.json();
  if (response.ok) show(update);
  else status.textContent = update.error;
  watch();
};
stop.addEventListener("click", () => act("stop"));
resume.addEventListener("click", () => act("resume"));
watch();
