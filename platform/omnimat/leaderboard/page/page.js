"use strict";

const plots = JSON.parse(document.getElementById("plots").textContent);
const boards = [...document.querySelectorAll(".board")];
const picker = document.getElementById("picker");

// Plotly reads a label as a small HTML of its own.
const plain = (text) =>
  text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const shortened = (text, length) =>
  text.length > length ? text.slice(0, length - 1) + "…" : text;
const colour = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function draw(board, plot) {
  const target = board.querySelector(".plot");
  const narrow = target.clientWidth < 560;
  const { entries, scale } = plot;
  const places = entries.map((_, place) => place);
  const labels = entries.map(({ model, variant }) => narrow
    ? `${plain(shortened(model, 18))}<br>${plain(shortened(variant, 18))}`
    : plain(shortened(`${model} · ${variant}`, 44)));
  const names = entries.map(({ model, variant, config }) =>
    plain(`${model} · ${variant} · ${config}`));
  const seeds = entries.flatMap((entry, place) =>
    entry.values.map((value, i) => ({ place, value, seed: entry.seeds[i] })));
  const traces = [
    {
      x: seeds.map((seed) => seed.value),
      y: seeds.map((seed) => seed.place),
      text: seeds.map((seed) => `${names[seed.place]}<br>seed ${seed.seed}: ${seed.value}`),
      mode: "markers",
      marker: { color: colour("--seed"), size: 7 },
      hovertemplate: "%{text}<extra></extra>",
    },
    {
      x: entries.map((entry) => entry.mean),
      y: places,
      error_x: { type: "data", array: entries.map((entry) => entry.std ?? 0), thickness: 2, width: 5,
                 color: colour("--accent") },
      text: entries.map((entry, place) => `${names[place]}<br>${entry.score}<br>` + (entry.std === null
        ? "one seed: no deviation"
        : `mean ± sqrt(Σ(x − mean)² / (n − 1)), n = ${entry.values.length}<br>` +
          entry.values.map((value, i) => `seed ${entry.seeds[i]}: ${value}`).join("<br>"))),
      mode: "markers",
      marker: { color: colour("--accent"), size: 10, symbol: "diamond" },
      hovertemplate: "%{text}<extra></extra>",
    },
  ];
  const layout = {
    height: 90 + (narrow ? 46 : 34) * entries.length,
    margin: { l: 10, r: 20, t: 10, b: 50 },
    showlegend: false,
    hovermode: "closest",
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
    hoverlabel: { align: "left", bgcolor: colour("--card"), bordercolor: colour("--line"),
                  font: { color: colour("--ink") } },
    xaxis: { title: { text: plain(scale), font: { size: 13 } }, gridcolor: colour("--line"), zeroline: false,
             automargin: true, nticks: narrow ? 5 : 0, fixedrange: narrow },
    yaxis: { tickvals: places, ticktext: labels, range: [entries.length - 0.4, -0.6],
             automargin: true, showgrid: false, zeroline: false, fixedrange: true, ticklen: 6 },
  };
  Plotly.react(target, traces, layout, { responsive: true, displayModeBar: false });
}

function show() {
  boards.forEach((board, i) => {
    board.hidden = picker.value !== "" && board.id !== picker.value;
    if (!board.hidden) draw(board, plots[i]);
  });
}

function sort(table, header) {
  const headers = [...header.parentElement.children];
  const column = headers.indexOf(header);
  const direction = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  headers.forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", direction);
  const key = (body) => body.rows[0].cells[column].dataset.value;
  const compare = header.classList.contains("number")
    ? (a, b) => key(a) - key(b)
    : (a, b) => key(a).localeCompare(key(b));
  const sign = direction === "ascending" ? 1 : -1;
  table.append(...[...table.tBodies].sort((a, b) => sign * compare(a, b)));
}

function toggle(button, open) {
  button.setAttribute("aria-expanded", String(open));
  document.getElementById(button.getAttribute("aria-controls")).hidden = !open;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const header = button.closest("thead th");
  if (header) sort(button.closest("table"), header);
  else toggle(button, button.getAttribute("aria-expanded") !== "true");
});
document.querySelectorAll(".more").forEach((button) => toggle(button, false));
document.querySelector(".picker").hidden = false;
picker.addEventListener("change", show);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", show);
show();
