"use strict";

// In the head, before anything is drawn: a page must not flash in the other theme.
const THEMES = ["auto", "light", "dark"];

function theme() {
  const chosen = localStorage.getItem("theme");
  return THEMES.includes(chosen) ? chosen : "auto";
}

function showTheme() {
  document.documentElement.dataset.theme = theme();
}

showTheme();
