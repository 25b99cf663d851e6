// Wires the pages that have nothing but a theme switch.
import { need } from "./dom.js";
import { ThemeSwitch } from "./theme-switch.js";

new ThemeSwitch(need('[data-action="theme"]', HTMLElement)).start();
