// A classic script in <head>, so that the first paint already has the chosen theme and layout.
"use strict";
{
  const root = document.documentElement;
  root.dataset.js = "";
  try {
    const choice = localStorage.getItem("tablecast-theme");
    if (choice === "light" || choice === "dark") root.dataset.theme = choice;
    const side = localStorage.getItem("tablecast.side");
    if (side === "open" || side === "closed") root.dataset.side = side;
  } catch {
    // Storage can be forbidden; the system's theme it is.
  }

  // A network that changes while the page loads can cost a module, and with it the whole script:
  // load once more, but only once.
  const once = performance.getEntriesByType("navigation")[0];
  const again = once instanceof PerformanceNavigationTiming && once.type !== "reload";
  addEventListener(
    "error",
    ({ target }) => {
      if (again && target instanceof HTMLScriptElement && target.type === "module") {
        setTimeout(() => location.reload(), 1000);
      }
    },
    { capture: true },
  );
}
