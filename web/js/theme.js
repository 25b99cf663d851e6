// A classic script in <head>, so that the first paint already has the chosen theme.
"use strict";
{
  const root = document.documentElement;
  root.dataset.js = "";
  try {
    const choice = localStorage.getItem("tablecast-theme");
    if (choice === "light" || choice === "dark") root.dataset.theme = choice;
  } catch {
    // Storage can be forbidden; the system's theme it is.
  }
}
