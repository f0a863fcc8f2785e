"use strict";

// One function a kind of figure, from the plain data beside it to what plotly draws.

// Plotly reads a label as a small HTML of its own.
const plain = (text) =>
  String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
const formula = (text) => plain(text).replace(/([A-Za-z)\]])(\d+(?:\.\d+)?)/g, "$1<sub>$2</sub>");
const shortened = (text, length) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

const probe = document.createElement("span");
probe.hidden = true;

/** The value a colour of the style sheet has in the theme that is on. */
function colour(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

const faded = (name, opacity) => {
  const [red, green, blue] = colour(name).match(/[\d.]+/g);
  return `rgba(${red}, ${green}, ${blue}, ${opacity})`;
};
const hue = (place) => `--c${place % 8}`;
const category = (place) => colour(hue(place));

// A colour for good: the same on every page.
const VARIANTS = ["finetuned", "from_scratch", "frozen", "linear_probe", "pretrained"];
const SYSTEMS = ["triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic"];
const words = (name) => name.replaceAll("_", " ");

/** Where a click on each of some materials leads, if their data set has pages. */
const materialPages = (figure, ids) => (figure.materials ? ids.map((id) => figure.materials + encodeURIComponent(id)) : undefined);

/** Two lines of so many characters, the rest left out. */
function wrapped(text, length) {
  if (text.length <= length) return plain(text);
  const end = text.lastIndexOf(" ", length);
  const cut = end > length / 2 ? end : length;
  return `${plain(text.slice(0, cut))}<br>${plain(shortened(text.slice(cut).trim(), length))}`;
}

function axis(title, more = {}) {
  return {
    title: { text: plain(title), font: { size: 13, color: colour("--faint") } },
    gridcolor: faded("--line", 0.8), linecolor: colour("--line"), tickfont: { color: colour("--faint") },
    zeroline: false, automargin: true, fixedrange: true, ...more,
  };
}

function layout(more) {
  return {
    margin: { l: 12, r: 14, t: 12, b: 12 },
    showlegend: false,
    hovermode: "closest",
    dragmode: false,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 13 },
    hoverlabel: { align: "left", bgcolor: colour("--card"), bordercolor: colour("--line"),
                  font: { color: colour("--ink"), size: 13 } },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0, font: { size: 12 } },
    ...more,
  };
}

/** A lane a result with its mean and deviation, then a lane and a line a printed number. */
function dots({ entries, references, factor, axis: title }, width) {
  const narrow = width < 640;
  const lanes = [...entries, ...references];
  const name = (lane) => (lane.paper ? `${lane.paper}: ${lane.model}` : lane.model);
  const label = (lane) => (narrow
    ? plain(shortened(lane.paper ? name(lane) : `${words(lane.variant)}: ${name(lane)}`, Math.floor(width / 7.2)))
    : wrapped(name(lane), 50));
  const told = (entry) => `<b>${plain(entry.score)}</b>, ${plain(words(entry.variant))}<br>${wrapped(name(entry), 70)}<br>` +
    (entry.std === null ? `${entry.extent}: no deviation` : `mean ± standard deviation of ${entry.extent}`);
  const variants = [...new Set(entries.map((entry) => entry.variant))];
  const shade = (variant) => category(VARIANTS.includes(variant) ? VARIANTS.indexOf(variant) : 5);
  const traces = variants.map((variant) => {
    const places = entries.map((_, place) => place).filter((place) => entries[place].variant === variant);
    const some = places.map((place) => entries[place]);
    return {
      name: plain(words(variant)), mode: "markers",
      x: some.map((entry) => entry.mean * factor), y: places,
      error_x: { type: "data", array: some.map((entry) => (entry.std ?? 0) * factor), thickness: 2, width: 5,
                 color: shade(variant) },
      text: some.map(told), customdata: some.map((entry) => entry.href),
      marker: { color: shade(variant), size: 10 },
      hovertemplate: "%{text}<extra></extra>",
    };
  });
  if (references.length) traces.push({
    name: "printed in a paper", mode: "markers",
    x: references.map((one) => one.value * factor),
    y: references.map((_, place) => entries.length + place),
    text: references.map((one) => `<b>${plain(one.score)}</b> as printed<br>${plain(name(one))}`),
    marker: { color: colour("--card"), size: 9, symbol: "diamond",
              line: { color: colour("--paper-mark"), width: 2 } },
    hovertemplate: "%{text}<extra></extra>",
  });
  const lines = references.map((one, place) => ({
    type: "line", layer: "below", x0: one.value * factor, x1: one.value * factor,
    y0: -0.6, y1: entries.length + place,
    line: { color: faded("--paper-mark", 0.55), width: 1, dash: "dot" },
  }));
  const lane = narrow ? 44 : 34;
  const ticks = narrow
    ? { showticklabels: false, ticklen: 0 }
    : { ticklen: 6, tickvals: lanes.map((_, place) => place), ticktext: lanes.map(label) };
  const above = narrow ? lanes.map((one, place) => ({
    x: 0, xref: "paper", xanchor: "left", y: place - 0.18, yanchor: "bottom", text: label(one), showarrow: false,
    font: { size: 11.5, color: colour(one.paper ? "--faint" : "--ink") }, bgcolor: faded("--card", 0.75), borderpad: 0,
  })) : [];
  return {
    traces,
    layout: layout({
      height: (narrow ? 66 : 96) + lane * lanes.length,
      showlegend: !narrow,
      margin: { l: 12, r: 14, t: narrow ? 12 : 34, b: 12 },
      shapes: lines,
      annotations: above,
      xaxis: axis(title, { nticks: narrow ? 5 : 9, tickformat: "~g", title: { ...axis(title).title, standoff: 8 } }),
      yaxis: axis("", { ...ticks, range: [lanes.length - 0.4, -0.7], showgrid: false,
                        tickfont: { color: colour("--ink"), size: 12.5 } }),
    }),
  };
}

const SCALES = {
  linear: {},
  "from zero": { rangemode: "tozero" },
  // Labels in full; plotly would write the first digit alone.
  log: { type: "log", tickformat: "~s",
         tickvals: [...Array(18).keys()].flatMap((power) => [1, 2, 5].map((digit) => digit * 10 ** (power - 9))) },
};

function curves({ x, y, scale, stacked, series }, width) {
  const lines = series.map((one, place) => ({
    x: one.x, y: one.y, name: wrapped(one.name, Math.max(24, Math.floor(width / 8))), mode: one.x.length < 2 ? "markers" : one.points ? "lines+markers" : "lines",
    line: { color: category(place), width: stacked ? 0.5 : 2 },
    ...(stacked ? { stackgroup: "all", fillcolor: faded(hue(place), 0.6) } : {}),
    hovertemplate: `${plain(x)} %{x}: %{y:.4g}<extra>${plain(one.name)}</extra>`,
  }));
  const marks = series.filter((one) => one.mark != null).map((one) => {
    const place = one.x.indexOf(one.mark);
    return {
      x: [one.x[place]], y: [one.y[place]], mode: "markers", showlegend: false,
      marker: { color: category(series.indexOf(one)), size: 9, line: { color: colour("--card"), width: 2 } },
      hovertemplate: `kept: ${plain(x)} %{x}, %{y:.4g}<extra>${plain(one.name)}</extra>`,
    };
  });
  return {
    traces: [...lines, ...marks],
    layout: layout({ height: stacked ? 380 : 300, showlegend: series.length > 1, margin: { l: 12, r: 14, t: 30, b: 12 },
                     xaxis: axis(x, { showgrid: false }), yaxis: axis(y, SCALES[scale]) }),
  };
}

function bars({ x, y, labels, counts }) {
  return {
    traces: [{ type: "bar", x: labels, y: counts, marker: { color: colour("--accent") },
               hovertemplate: `%{x} ${plain(x)}: %{y:,} ${plain(y)}<extra></extra>` }],
    layout: layout({ height: 280, bargap: 0.25, xaxis: axis(x, { showgrid: false }), yaxis: axis(y) }),
  };
}

function square({ axes, limits }, width) {
  const [low, high] = limits;
  const size = Math.min(width, 440);
  return {
    height: size, width: size,
    margin: { l: 62, r: 14, t: 34, b: 48 },
    shapes: [{ type: "line", layer: "above", x0: low, y0: low, x1: high, y1: high,
               line: { color: faded("--ink", 0.45), width: 1, dash: "dash" } }],
    xaxis: axis(axes[0], { range: limits, nticks: 6, automargin: false }),
    yaxis: axis(axes[1], { range: limits, nticks: 6, automargin: false }),
  };
}

function clouds(figure, marker) {
  const { clouds, labels, ids } = figure;
  return clouds.map((one, place) => ({
    x: one.x, y: one.y, text: labels.map(plain), name: plain(one.name), mode: "markers",
    customdata: materialPages(figure, ids), marker: marker(place),
    hovertemplate: `%{text}<br>%{x:.4g} → %{y:.4g}<extra>${plain(one.name)}</extra>`,
  }));
}

function cloud(figure, width) {
  const isOne = figure.clouds.length === 1;
  return {
    traces: clouds(figure, (place) => ({ size: 6, color: faded(isOne ? "--accent" : hue(place), 0.55) })),
    layout: layout({ ...square(figure, width), showlegend: !isOne }),
  };
}

// What was found against what was said, in per cent.
function shares(figure, width) {
  return {
    traces: [{
      x: figure.x, y: figure.y, text: figure.words.map(plain), mode: "lines+markers", cliponaxis: false,
      line: { color: colour("--accent"), width: 1.5 }, marker: { color: colour("--accent"), size: 8 },
      error_y: { type: "data", array: figure.spans, color: faded("--accent", 0.6), thickness: 1.5, width: 3 },
      hovertemplate: "%{text}<extra></extra>",
    }],
    layout: layout(square(figure, width)),
  };
}

const VIRIDIS = ["#440154", "#46327e", "#365c8d", "#277f8e", "#1fa187", "#4ac16d", "#a0da39", "#fde725"];
const scaleOf = (colours) => colours.map((one, place) => [place / (colours.length - 1), one]);

// Squares rather than plotly's heatmap: sharp at any size, and empty where nothing is. The points
// above them are there for the mouse alone; they would hide the density.
function density(figure, width) {
  const bar = 58;
  const form = square(figure, width - bar);
  const most = Math.max(...figure.counts);
  const decades = [...Array(Math.floor(Math.log10(most)) + 1).keys()];
  return {
    traces: [{
      x: figure.x, y: figure.y, mode: "markers",
      marker: {
        symbol: "square", size: (form.width - form.margin.l - form.margin.r) / figure.bins + 0.3, line: { width: 0 },
        opacity: 1, color: figure.counts.map((count) => Math.log10(count)), colorscale: scaleOf(VIRIDIS), showscale: true,
        colorbar: { thickness: 10, outlinewidth: 0, tickvals: decades, ticktext: decades.map((power) => `${10 ** power}`),
                    title: { text: "count", side: "right", font: { size: 12 } }, len: 0.9 },
      },
      hoverinfo: "skip",
    }, ...clouds(figure, () => ({ size: 4, opacity: 0 }))],
    layout: layout({ ...form, width: form.width + bar, height: form.height, showlegend: false,
                     margin: { ...form.margin, r: form.margin.r + bar } }),
  };
}

/* The map */

const HAS_WEBGL = Boolean(document.createElement("canvas").getContext("webgl"));

function mapTraces(figure, key, narrow) {
  const by = figure.colours.find((one) => one.key === key);
  const type = HAS_WEBGL ? "scattergl" : "scatter";
  const text = figure.ids.map((id, place) => `<b>${formula(figure.formulas[place])}</b><br>${plain(id)}`);
  const told = (place) => (by ? `<br>${plain(by.title)}: ${plain(by.values[place] ?? "not known")}${
    by.unit && by.values[place] != null ? ` ${plain(by.unit)}` : ""}` : "");
  const trace = (places, name, marker) => ({
    type, mode: "markers", name: plain(name),
    x: places.map((place) => figure.x[place]), y: places.map((place) => figure.y[place]),
    text: places.map((place) => text[place] + told(place)),
    customdata: materialPages(figure, places.map((place) => figure.ids[place])),
    marker: { size: figure.ids.length < 1500 ? 8 : 5, opacity: 0.75, ...marker }, hovertemplate: "%{text}<extra></extra>",
  });
  const everything = figure.ids.map((_, place) => place);
  if (!by) return [trace(everything, "", { color: colour("--accent") })];
  if (by.type === "numbers") {
    const known = everything.filter((place) => by.values[place] != null);
    const rest = everything.filter((place) => by.values[place] == null);
    const scale = { color: known.map((place) => by.values[place]), colorscale: scaleOf(VIRIDIS), showscale: true,
                    colorbar: { title: { text: `${plain(by.title)} (${plain(by.unit)})`, side: narrow ? "top" : "right" },
                                thickness: 12, outlinewidth: 0,
                                ...(narrow ? { orientation: "h", y: 0, yanchor: "top" } : {}) } };
    return [trace(rest, "not known", { color: faded("--faint", 0.4) }), trace(known, by.title, scale)];
  }
  const counts = new Map();
  by.values.forEach((value) => counts.set(value, (counts.get(value) ?? 0) + 1));
  const order = (name) => (name === "not known" ? Infinity : SYSTEMS.includes(name) ? SYSTEMS.indexOf(name) : -counts.get(name));
  const names = [...counts.keys()].sort((a, b) => order(a) - order(b));
  return names.map((name, place) => trace(
    everything.filter((one) => by.values[one] === name),
    `${name} (${counts.get(name)})`,
    { color: name === "not known" ? faded("--faint", 0.4) : category(SYSTEMS.includes(name) ? SYSTEMS.indexOf(name) : place) },
  ));
}

function map(figure, width, height) {
  const select = document.getElementById("colour");
  const by = figure.colours.find((one) => one.key === select?.value);
  const bare = { showgrid: false, showticklabels: false, showline: false, fixedrange: false, title: { text: "" } };
  const traces = mapTraces(figure, select?.value, width < 640);
  const wanted = document.getElementById("find").value.trim().toLowerCase();
  const places = wanted ? figure.ids.map((_, place) => place).filter((place) =>
    figure.ids[place].toLowerCase() === wanted || figure.formulas[place].toLowerCase().startsWith(wanted)) : [];
  document.getElementById("found").textContent = wanted ? `${places.length} found` : "";
  if (wanted) {
    traces.forEach((trace) => { trace.marker.opacity = 0.15; });
    traces.push({
      type: traces[0].type, mode: "markers", name: "found", showlegend: false,
      x: places.map((place) => figure.x[place]), y: places.map((place) => figure.y[place]),
      text: places.map((place) => `<b>${formula(figure.formulas[place])}</b><br>${plain(figure.ids[place])}`),
      customdata: materialPages(figure, places.map((place) => figure.ids[place])),
      marker: { size: 11, color: colour("--c1"), line: { color: colour("--card"), width: 1.5 } },
      hovertemplate: "%{text}<extra></extra>",
    });
  }
  return {
    traces,
    layout: layout({ height, dragmode: "pan", showlegend: by?.type === "classes", uirevision: "keep",
                     legend: { orientation: "h", y: -0.02, yanchor: "top", x: 0, itemsizing: "constant" },
                     margin: { l: 4, r: 4, t: 4, b: 4 },
                     xaxis: axis("", bare), yaxis: axis("", { ...bare, scaleanchor: "x" }) }),
    config: { scrollZoom: true, doubleClick: "reset" },
  };
}

/* Drawing */

const KINDS = { dots, curves, bars, cloud, density, shares, map };
const known = new WeakMap();

function draw(figure) {
  const canvas = figure.querySelector(".canvas");
  const kind = figure.dataset.kind;
  if (!known.has(figure)) known.set(figure, JSON.parse(figure.querySelector("script").textContent));
  const { traces, layout: form, config = {} } = KINDS[kind](known.get(figure), canvas.clientWidth, canvas.clientHeight);
  Plotly.react(canvas, traces, form, { displayModeBar: false, responsive: false, ...config });
  if (!figure.dataset.drawn) {
    canvas.on("plotly_click", ({ points }) => {
      if (points[0].customdata) location.href = points[0].customdata;
    });
  }
  figure.dataset.drawn = "true";
}

// Most figures lie below the fold; each is drawn when it comes near.
const seen = new IntersectionObserver((entries) => {
  for (const entry of entries.filter((one) => one.isIntersecting)) {
    seen.unobserve(entry.target);
    draw(entry.target);
  }
}, { rootMargin: "500px" });

const watch = () => document.querySelectorAll(".plot").forEach((figure) => seen.observe(figure));
const redraw = () => document.querySelectorAll(".plot[data-drawn]").forEach(draw);

let resized;
let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return;  // a phone's address bar comes and goes
  width = innerWidth;
  clearTimeout(resized);
  resized = setTimeout(redraw, 120);
});
// Paper is white, whatever the screen is.
addEventListener("beforeprint", () => {
  document.documentElement.dataset.theme = "light";
  document.querySelectorAll(".plot").forEach(draw);
});
addEventListener("afterprint", () => {
  showTheme();
  redraw();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
document.addEventListener("themechange", redraw);
document.addEventListener("contentchange", watch);
document.addEventListener("input", (event) => {
  if (event.target.closest(".map-tools")) redraw();
});
watch();
