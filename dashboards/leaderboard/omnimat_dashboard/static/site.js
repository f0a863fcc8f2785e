"use strict";

// Tables, filters, theme and keys. Everything here also works without: the server sorts and filters
// by the same address, and a page whose table is complete needs no server for either.

const find = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const results = () => document.getElementById("results");
const isComplete = () => results()?.dataset.complete === "true";
const isServed = () => !find('meta[http-equiv="Content-Security-Policy"]');

/* Theme */

const themeButton = document.getElementById("theme");

function nextTheme() {
  localStorage.setItem("theme", THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
  showTheme();
  nameTheme();
  document.dispatchEvent(new Event("themechange"));
}

function nameTheme() {
  find("span", themeButton).textContent = theme();
}

/* Filters */

const form = find(".filters");

function query() {
  const kept = new URLSearchParams(location.search);
  for (const [name, value] of new FormData(form)) {
    if (value) kept.set(name, value);
    else kept.delete(name);
  }
  kept.delete("page");
  return kept;
}

function address(parameters) {
  const text = parameters.toString();
  return text ? `?${text}` : location.pathname;
}

function filter() {
  const { q, variant, status } = Object.fromEntries(new FormData(form));
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of all("tr.result", results())) {
    const text = `${row.textContent} ${row.dataset.also}`.toLowerCase();
    row.hidden = (variant && row.dataset.variant !== variant) ||
      (status && row.dataset.status !== status) || !words.every((word) => text.includes(word));
    if (!row.hidden) shown += 1;
  }
  for (const section of all("section.card", results())) {
    if (find("tr.result", section)) section.hidden = !find("tr.result:not([hidden])", section);
  }
  find(".nothing", results()).hidden = shown > 0;
  if (isComplete() || !isServed()) find("output", form).textContent = `${shown.toLocaleString("en")} shown`;
}

let pending;
function changed() {
  history.replaceState(null, "", address(query()));
  filter();
  for (const link of all(".actions .download")) {
    if (isServed()) link.search = query().toString();
  }
  clearTimeout(pending);
  // What the page does not hold, the server may.
  if (!isComplete() && isServed()) pending = setTimeout(() => refresh(location.href), 250);
}

async function refresh(url) {
  const answer = await fetch(url, { headers: { Accept: "text/html" } });
  if (!answer.ok || url !== location.href) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  results().replaceWith(find("#results", page));
  find("output", form).textContent = find(".filters output", page).textContent;
  document.dispatchEvent(new Event("contentchange"));
}

/* Parts that are closed at first */

// An address may lead into such a part; not every browser opens it.
function reveal() {
  document.getElementById(location.hash.slice(1))?.closest("details")?.setAttribute("open", "");
}
addEventListener("hashchange", reveal);
reveal();

// Long tables that a phone shows when somebody asks for them.
if (matchMedia("(max-width: 46rem)").matches) {
  for (const part of all("details.long")) part.open = false;
}

/* Pages of what goes on */

const RENEWED_EVERY_S = 15;
const live = () => document.getElementById("live");

async function renew() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = find("#live", page);
  if (!fresh) return;  // the page of what cannot be read just now has none
  const picked = new Set(all("input:checked", live()).map((box) => box.value));
  for (const box of all("input[type=checkbox]", fresh)) box.checked = picked.has(box.value);
  const before = all(".plot .canvas", live());
  live().replaceWith(fresh);
  const after = all(".plot .canvas", live());
  // Each figure keeps its drawing and moves on to the new data, so that nothing flickers.
  if (before.length === after.length) after.forEach((canvas, place) => canvas.replaceWith(before[place]));
  document.dispatchEvent(new Event("contentchange"));
}

let renewing = false;
setInterval(() => {
  if (!live()?.hasAttribute("data-live") || document.hidden || live().contains(document.activeElement)) return;
  if (renewing) return;  // a slow server is not asked again before it has answered
  renewing = true;
  // One that is gone leaves the page as it was.
  renew().catch(() => {}).finally(() => { renewing = false; });
}, 1000 * RENEWED_EVERY_S);

/* Order */

const NUMERIC = new Set(["score", "seeds"]);

function sort(link) {
  const header = link.closest("th");
  const { key } = link.dataset;
  const ascending = header.getAttribute("aria-sort") !== "ascending";
  all("th", header.parentElement).forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  const value = (row) => row.dataset[key];
  const compare = NUMERIC.has(key)
    ? (a, b) => value(a) - value(b)
    : (a, b) => value(a).localeCompare(value(b));
  const body = link.closest("table").tBodies[0];
  const sign = ascending ? 1 : -1;
  body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
  const parameters = query();
  parameters.set("sort", key);
  if (ascending) parameters.delete("order");
  else parameters.set("order", "desc");
  history.replaceState(null, "", address(parameters));
  for (const download of all(".actions .download")) {
    if (isServed()) download.search = parameters.toString();
  }
}

/* Comparison */

const MAX_COMPARED = 6;
const chosen = () => all('.pick input:checked');

function choose(box) {
  for (const other of chosen().filter((one) => one !== box).slice(MAX_COMPARED - 1)) other.checked = false;
  find("#compare button").disabled = chosen().length < 2;
}

function compare() {
  const parameters = new URLSearchParams(chosen().map((box) => ["of", box.value]));
  if (chosen().length > 1) location.href = `${find("#compare").getAttribute("action")}?${parameters}`;
}

/* Keys */

const inField = (target) => target.closest("input:not([type=checkbox]), select, textarea");

function step(by) {
  const links = all("tr.result:not([hidden]) .model a");
  const here = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
  const next = here < 0 ? (by > 0 ? 0 : links.length - 1) : here + by;
  links[Math.max(0, Math.min(links.length - 1, next))]?.focus();
}

function toggleChoice() {
  const box = find(".pick input", document.activeElement.closest("tr.result") ?? document.createElement("p"));
  if (!box) return;
  box.checked = !box.checked;
  choose(box);
}

const KEYS = {
  "/": () => find("input[type=search]")?.focus(),
  j: () => step(1),
  k: () => step(-1),
  x: toggleChoice,
  c: () => { if (find("#compare")) compare(); },
  o: () => find(".brand").click(),
  t: nextTheme,
  "?": () => document.getElementById("keys").showModal(),
};

function leave(target) {
  if (target.type === "search" && target.value) {
    target.value = "";
    target.dispatchEvent(new Event("input", { bubbles: true }));
  } else target.blur();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
  if (event.key === "Escape") leave(event.target);
  else if (!inField(event.target) && KEYS[event.key]) {
    event.preventDefault();
    KEYS[event.key]();
  }
});

document.addEventListener("click", (event) => {
  const link = event.target.closest("a.sort");
  if (!link || !isComplete()) return;
  event.preventDefault();
  sort(link);
});
document.addEventListener("change", (event) => {
  if (event.target.closest("tr.result .pick")) choose(event.target);
});
document.addEventListener("submit", (event) => {
  if (event.target.id === "compare") {
    event.preventDefault();
    compare();
  } else if (event.target === form && (isComplete() || !isServed())) event.preventDefault();
});
if (form) {
  form.addEventListener("input", changed);
  const given = new URLSearchParams(location.search);
  if (!isServed()) {
    // A folder knows nothing of addresses; the page has to do what a server would have done.
    for (const field of all("[name]", form)) field.value = given.get(field.name) ?? "";
    filter();
  }
}
for (const button of [themeButton, document.getElementById("help")]) button.hidden = false;
themeButton.addEventListener("click", nextTheme);
document.getElementById("help").addEventListener("click", KEYS["?"]);
nameTheme();
