"use strict";
// A form that starts something, and goes where the server says it can be watched.
const form = document.querySelector("#start");
form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const status = document.querySelector("#status");
  status.textContent = "Starting…";
  try {
    const response = await fetch(`${form.dataset.to}?${new URLSearchParams(new FormData(form))}`, { method: "POST" });
    const answer = await response.json();
    if (response.ok) location.assign(answer.place);
    else status.textContent = answer.error;
  } catch {
    status.textContent = "The server cannot be reached.";
  }
});
