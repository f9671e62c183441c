"use strict";
// A training as it goes: curves, stage and messages, asked for every second until it has ended.
const place = location.pathname;
const [status, progress] = [document.querySelector("#status"), document.querySelector("#progress")];
const [stop, resume, report, use] = ["#stop", "#resume", "#report", "#use"].map((id) => document.querySelector(id));
const error = document.querySelector("#error");
let drawn = "";
let timer = 0;

const series = (told, figure) => [
  { name: "train", values: told[`train_${figure}`], colour: 0, dashed: false },
  { name: "validation", values: told[`val_${figure}`], colour: 1, dashed: false },
];
const show = (told) => {
  const running = told.state === "running";
  const nEpochs = told.val_loss.length;
  const stage = `${told.stage}${told.total > 1 ? `: ${told.done} of ${told.total}` : ""}`;
  status.textContent = running ? stage : `${told.state}${nEpochs ? ` after ${nEpochs} epochs` : ""}`;
  progress.hidden = !running && told.state !== "stopping";
  if (told.total > 1) {
    progress.max = told.total;
    progress.value = told.done;
  } else progress.removeAttribute("value");
  stop.hidden = !running;
  resume.hidden = !["stopped", "failed"].includes(told.state);
  resume.textContent = told.state === "failed" ? "Try again" : "Resume";
  report.hidden = use.hidden = told.state !== "finished";
  report.href = `/runs/${encodeURIComponent(told.run)}/report.html`;
  use.href = `/?run=${encodeURIComponent(told.run)}`;
  error.hidden = !told.error;
  error.firstElementChild.textContent = told.error;
  document.querySelector("#lines").replaceChildren(
    ...told.lines.map((line) => Object.assign(document.createElement("li"), { textContent: line })),
  );
  const key = JSON.stringify([told.val_loss, told.train_loss]);
  if (key === drawn) return; // what the pointer shows stays
  drawn = key;
  drawCurves(document.querySelector("#loss"), { title: "Loss (nats)", series: series(told, "loss") });
  drawCurves(document.querySelector("#accuracy"), { title: "Accuracy", series: series(told, "accuracy"), high: 1 });
};
const watch = async () => {
  clearTimeout(timer);
  try {
    const response = await fetch(`${place}/state`);
    const told = await response.json();
    if (!response.ok) throw new Error(told.error);
    show(told);
    if (!["running", "stopping"].includes(told.state)) return;
  } catch (failure) {
    status.textContent = failure instanceof TypeError ? "The server cannot be reached." : failure.message;
  }
  timer = setTimeout(watch, 1000);
};
const act = async (what) => {
  const response = await fetch(`${place}/${what}`, { method: "POST" });
  const told = await response.json();
  if (response.ok) show(told);
  else status.textContent = told.error;
  watch();
};
stop.addEventListener("click", () => act("stop"));
resume.addEventListener("click", () => act("resume"));
watch();
