"use strict";
// The token stands in the address after #, which browsers send nowhere; it is sent once, for a cookie.
const status = document.querySelector("#status");
fetch("/sign-in", { method: "POST", headers: { "X-Imgreg-Token": location.hash.slice(1) } })
  .then(async (response) => {
    if (response.ok) location.replace("/");
    else status.textContent = (await response.json()).error;
  })
  .catch(() => {
    status.textContent = "The server cannot be reached.";
  });
