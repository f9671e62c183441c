"use strict";
// Progress of a check, until it is done.
const wait = document.querySelector("#wait");
const ask = async () => {
  try {
    const answer = await (await fetch(wait.dataset.state)).json();
    if (!answer.running) return location.reload();
    const progress = document.querySelector("#progress");
    if (answer.total) {
      progress.max = answer.total;
      progress.value = answer.done;
    } else progress.removeAttribute("value");
    document.querySelector("#status").textContent = `${answer.stage || "reading photos"}${answer.done ? `: ${answer.done}${answer.total ? ` of ${answer.total}` : ""}` : ""}`;
  } catch {
    document.querySelector("#status").textContent = "The server cannot be reached.";
  }
  setTimeout(ask, 500);
};
ask();
