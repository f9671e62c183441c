"use strict";
// The token comes from the address's fragment (after #), which browsers do not send, or is typed in; it is exchanged
// once for a cookie.
const status = document.querySelector("#status");
const signIn = async (token) => {
  try {
    const response = await fetch("/sign-in", { method: "POST", headers: { "X-Imgreg-Token": encodeURIComponent(token) } });
    if (response.ok) location.replace("/");
    else status.textContent = (await response.json()).error;
  } catch {
    status.textContent = "The server cannot be reached.";
  }
};
document.querySelector("#sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  signIn(document.querySelector("#token").value.trim());
});
if (location.hash.length > 1) signIn(location.hash.slice(1));
else document.querySelector("#token").focus();
