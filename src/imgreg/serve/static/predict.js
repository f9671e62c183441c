"use strict";
// Photos are sent one by one, a few at a time; each answer is shown as it comes. Nothing is kept but in this page.
const AT_ONCE = 4;
const MOST = 1000; // photos that are added at once
const cards = document.querySelector("#cards");
const suffixes = cards?.dataset.suffixes.split(" "); // of the names that are taken from folders
const status = document.querySelector("#status");
const progress = document.querySelector("#progress");
const photos = []; // { file, name, card, answers: Map(run -> document) }
const waiting = []; // [photo, run, confidence]
let drawing = Promise.resolve(); // previews by the server, one after another
let note = ""; // what was left out of the last drop
let asking = 0;
let asked = 0;
let done = 0;

const element = (tag, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
};
const percent = (share) => `${(100 * share).toFixed(1)}%`;
const pause = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

const send = async (path, query, file) => {
  for (;;) {
    const response = await fetch(`${path}?${new URLSearchParams(query)}`, { method: "POST", body: file });
    if (response.status !== 503) return response;
    await pause(Number(response.headers.get("Retry-After")) || 1);
  }
};
const explained = async (response) => {
  try {
    return (await response.json()).error ?? response.statusText;
  } catch {
    return response.statusText || "the server could not answer";
  }
};

const bar = (share) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  svg.setAttribute("class", "bar");
  svg.setAttribute("viewBox", "0 0 100 6");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  rect.setAttribute("width", 100 * share);
  rect.setAttribute("height", 6);
  svg.append(rect);
  return svg;
};
const notes = (answer, confidence) => {
  const found = [];
  if (answer.abstained) {
    found.push(`Not sure: ${answer.prediction_set.join(" or ") || "no class"} at ${100 * confidence} % confidence`);
  }
  if (answer.unlike_training) {
    const [distance, limit] = [answer.training_distance, answer.training_distance_threshold];
    found.push(`Unlike the training photos: distance ${distance.toFixed(3)}, threshold ${limit.toFixed(3)}`);
  }
  return found.map((text) => element("p", { className: "note", textContent: text }));
};
const several = () => document.querySelectorAll("[name=run]").length > 1;

const heat = async (photo, run, label, button) => {
  const frame = photo.card.querySelector(".picture");
  const shown = frame.querySelector(".map");
  for (const other of photo.card.querySelectorAll("[aria-pressed=true]")) other.setAttribute("aria-pressed", false);
  if (shown) {
    shown.remove();
    photo.card.querySelector(".heat-note")?.remove();
    if (shown.dataset.of === run) return;
  }
  button.disabled = true;
  button.textContent = "Computing…";
  try {
    const response = await send("/heatmap", { run, label }, photo.file);
    if (!response.ok) throw new Error(await explained(response));
    const map = element("img", { className: "map", alt: `Grad-CAM heatmap: what supports ${label} in ${photo.name}` });
    map.dataset.of = run;
    map.src = URL.createObjectURL(await response.blob());
    map.addEventListener("load", () => URL.revokeObjectURL(map.src));
    frame.querySelector(".map")?.remove();
    frame.append(map);
    button.setAttribute("aria-pressed", true);
    const note = response.headers.get("X-Imgreg-Note");
    photo.card.append(element("small", { className: "heat-note", textContent: `Grad-CAM for ${label}: ${note}` }));
  } catch (error) {
    photo.card.append(element("small", { className: "heat-note", textContent: error.message }));
  }
  button.disabled = false;
  button.textContent = "Heatmap";
};

const show = (photo, run, answer, confidence) => {
  const item = photo.card.querySelector(`[data-run="${CSS.escape(run)}"]`);
  if (!item) return; // cleared meanwhile
  item.replaceChildren();
  if (several()) item.append(element("span", { className: "quiet", textContent: run }));
  if (answer.error !== undefined) {
    item.append(element("p", { className: "error", textContent: answer.error }));
    return;
  }
  item.classList.toggle("unsure", Boolean(answer.abstained || answer.unlike_training));
  const shares = Object.entries(answer.probabilities);
  const button = element("button", { type: "button", textContent: "Heatmap" });
  button.setAttribute("aria-pressed", false);
  button.addEventListener("click", () => heat(photo, run, answer.label, button));
  item.append(
    element("span", { className: "class" }, element("span", { textContent: answer.label }), element("span", { textContent: percent(answer.probability) })),
    bar(answer.probability),
    ...(shares.length > 2 ? [element("p", { className: "shares", textContent: shares.map(([name, p]) => `${name} ${percent(p)}`).join(", ") })] : []),
    ...notes(answer, confidence),
    button,
  );
};

const tell = () => {
  const unread = photos.filter((photo) => [...photo.answers.values()].some((answer) => answer.error !== undefined)).length;
  document.querySelector("#working").hidden = done === asked;
  progress.max = Math.max(asked, 1);
  progress.value = done;
  const answered = asked ? `${done} of ${asked} answered${unread ? `; ${unread} could not be read` : ""}` : "";
  status.textContent = [answered, note].filter(Boolean).join(". ");
  document.querySelector("#csv").disabled = done === 0;
  document.querySelector("#clear").disabled = photos.length === 0;
};
const next = async () => {
  if (asking >= AT_ONCE || !waiting.length) return;
  asking += 1;
  const [photo, run, confidence] = waiting.shift();
  const query = { run, name: photo.name, ...(confidence ? { confidence } : {}) };
  let answer;
  try {
    const response = await send("/predict", query, photo.file);
    answer = response.ok ? await response.json() : { error: await explained(response) };
  } catch {
    answer = { error: "the server cannot be reached, or the file cannot be read" };
  }
  asking -= 1;
  if (photos.includes(photo)) {
    photo.answers.set(run, answer);
    done += 1;
    show(photo, run, answer, confidence);
    tell();
  }
  next();
};
// A preview of what the browser cannot draw, such as HEIC and TIFF, by the server's own decoder.
const preview = async (file, image) => {
  if (!image.isConnected) return;
  try {
    const response = await send("/picture", {}, file);
    if (!response.ok) throw new Error(await explained(response));
    const picture = await response.blob();
    if (!image.isConnected) return;
    image.src = URL.createObjectURL(picture);
  } catch {
    image.replaceWith(element("div", { className: "gone", textContent: "no preview" }));
  }
};
const add = (all, notes = []) => {
  const runs = [...document.querySelectorAll("[name=run]:checked")].map((box) => box.value);
  if (!runs.length) {
    status.textContent = "Choose a run first.";
    return;
  }
  const confidence = document.querySelector("#confidence").value;
  const added = [];
  const files = all.slice(0, MOST);
  note = [...notes, ...(all.length > MOST ? [`the first ${MOST} of ${all.length} photos were taken`] : [])].join("; ");
  for (const { file, name } of files) {
    const image = element("img", { alt: name, loading: "lazy" });
    image.src = URL.createObjectURL(file);
    image.addEventListener("load", () => URL.revokeObjectURL(image.src));
    const undrawn = () => {
      URL.revokeObjectURL(image.src);
      drawing = drawing.then(() => preview(file, image));
    };
    image.addEventListener("error", undrawn, { once: true });
    const answers = element("ul", { className: "answers" });
    for (const run of runs) {
      const item = element("li", {}, element("span", { className: "quiet", textContent: "waiting…" }));
      item.dataset.run = run;
      answers.append(item);
    }
    const card = element("li", {}, element("div", { className: "picture" }, image), element("small", { textContent: name }), answers);
    const photo = { file, name, card, answers: new Map() };
    photos.push(photo);
    added.push(card);
    for (const run of runs) {
      asked += 1;
      waiting.push([photo, run, confidence]);
    }
  }
  cards.prepend(...added);
  tell();
  for (let i = 0; i < AT_ONCE; i++) next();
};

const named = (file) => ({ file, name: file.webkitRelativePath || file.name || "photo" });
// The photos of whole folders, in the order of their names, and notes on those that were left out.
const chosen = (found, nameOf) => {
  const photos = found.filter((one) => suffixes.some((suffix) => nameOf(one).toLowerCase().endsWith(suffix)));
  photos.sort((a, b) => nameOf(a).localeCompare(nameOf(b), undefined, { numeric: true }));
  const others = found.length - photos.length;
  const notes = [
    ...(others ? [`${others} ${others === 1 ? "file" : "files"} of other kinds left out`] : []),
    ...(photos.length ? [] : ["no photos were found there"]),
  ];
  return [photos, notes];
};
const walk = async (entry, found) => {
  if (entry.isFile) {
    found.push(entry);
    status.textContent = `Reading folders: ${found.length} files`;
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // 100 at most
    if (!some.length) return;
    for (const one of some) await walk(one, found);
  }
};
const addEntries = async (entries) => {
  const found = [];
  try {
    for (const entry of entries) await walk(entry, found);
    const [taken, notes] = chosen(found, (entry) => entry.fullPath);
    const read = taken.map((entry) => new Promise((resolve, reject) => entry.file(resolve, reject)));
    const files = (await Promise.allSettled(read)).map(({ value }, i) => ({ file: value, name: taken[i].fullPath.slice(1) }));
    const readable = files.filter(({ file }) => file);
    const lost = files.length - readable.length;
    add(readable, [...notes, ...(lost ? [`${lost} could not be read`] : [])]);
  } catch (error) {
    status.textContent = `A folder cannot be read: ${error.message}`;
  }
};

const cell = (value) => {
  let text = value === undefined || value === null ? "" : Array.isArray(value) ? value.join("|") : String(value);
  if (/^[=+@-]/.test(text) && Number.isNaN(Number(text))) text = `./${text}`; // no spreadsheet takes it for a formula
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
const figure = (value) => value?.toFixed(6);
const download = () => {
  const all = photos.flatMap((photo) => [...photo.answers].map(([run, answer]) => [photo.name, run, answer]));
  const classes = [...new Set(all.flatMap(([, , answer]) => Object.keys(answer.probabilities ?? {})))];
  const header = ["path", "run", "label", "probability", ...classes, "prediction_set", "abstained"];
  header.push("unlike_training", "training_distance", "training_distance_threshold", "error");
  const rows = all.map(([name, run, a]) => [
    ...[name, run, a.label, figure(a.probability), ...classes.map((label) => figure(a.probabilities?.[label]))],
    ...[a.prediction_set, a.abstained, a.unlike_training],
    ...[figure(a.training_distance), figure(a.training_distance_threshold), a.error],
  ]);
  const text = [header, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
  const link = element("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "predictions.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
};

if (cards) {
  const drop = document.querySelector("#drop");
  for (const input of document.querySelectorAll("#pick, #camera")) {
    input.addEventListener("change", () => {
      add([...input.files].map(named));
      input.value = "";
    });
  }
  document.querySelector("#folder").addEventListener("change", (event) => {
    const [files, notes] = chosen([...event.target.files], (file) => file.webkitRelativePath);
    add(files.map(named), notes);
    event.target.value = "";
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  for (const end of ["dragleave", "drop"]) document.addEventListener(end, () => drop.classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
    if (entries.some((entry) => entry.isDirectory)) addEntries(entries);
    else add([...event.dataTransfer.files].map(named));
  });
  document.addEventListener("paste", (event) => {
    if (event.clipboardData.files.length) add([...event.clipboardData.files].map(named));
  });
  document.querySelector("#csv").addEventListener("click", download);
  document.querySelector("#clear").addEventListener("click", () => {
    photos.length = waiting.length = asked = done = 0;
    note = "";
    for (const image of cards.querySelectorAll("img")) URL.revokeObjectURL(image.src); // those never scrolled to
    cards.replaceChildren();
    tell();
    document.querySelector("#pick").focus();
  });
}
