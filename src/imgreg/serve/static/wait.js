"use strict";
// Progress of a check, until it is done.
const wait = document.querySelector("#wait");
const ask = async () => {
  try {
    const told = await (await fetch(wait.dataset.state)).json();
    if (!told.running) return location.reload();
    const progress = document.querySelector("#progress");
    if (told.total) {
      progress.max = told.total;
      progress.value = told.done;
    } else progress.removeAttribute("value");
    document.querySelector("#status").textContent = `${told.stage || "reading photos"}${told.done ? `: ${told.done}${told.total ? ` of ${told.total}` : ""}` : ""}`;
  } catch {
    document.querySelector("#status").textContent = "The server cannot be reached.";
  }
  setTimeout(ask, 500);
};
ask();
