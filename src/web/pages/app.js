// Keeps a page fresh: every few seconds the same page is fetched and its main part exchanged. Nothing
// happens while the page is hidden, or while somebody is typing or has opened a detail in it.
"use strict";
const EVERY_MS = 3000;

async function refresh() {
  const main = document.querySelector("main[data-refresh]");
  const busy = main && (main.contains(document.activeElement) || main.querySelector("details[open]"));
  if (!main || busy || document.hidden) return;
  try {
    const response = await fetch(location.href, { credentials: "same-origin", redirect: "error" });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html").querySelector("main");
    if (fresh && fresh.innerHTML !== main.innerHTML) main.replaceChildren(...fresh.childNodes);
  } catch (error) {
    // The server is away for a moment; the next round tries again.
  }
}
setInterval(refresh, EVERY_MS);
