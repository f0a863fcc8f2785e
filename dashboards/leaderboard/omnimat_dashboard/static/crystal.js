"use strict";

// Turns the pictures of crystals, which the server has drawn, by mouse, finger and keys.

const SVG = "http://www.w3.org/2000/svg";
const STEP = Math.PI / 18;  // by which an arrow key turns
const PER_PIXEL = Math.PI / 300;
const ZOOMS = [0.25, 1.5];  // the widest and the narrowest view, as parts of the first one

const times = (places, turn) => places.map((place) =>
  [0, 1, 2].map((column) => place.reduce((sum, one, row) => sum + one * turn[row][column], 0)));

/** The matrices that turn what is seen around the screen's upward and rightward axes. */
function around(right, up) {
  const [cosR, sinR, cosU, sinU] = [Math.cos(right), Math.sin(right), Math.cos(up), Math.sin(up)];
  return times([[cosR, 0, -sinR], [0, 1, 0], [sinR, 0, cosR]], [[1, 0, 0], [0, cosU, sinU], [0, -sinU, cosU]]);
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** An edge in pieces, since one end may be behind an atom and the other before it. */
function cut(from, to, pieces) {
  const at = (step) => from.map((one, axis) => one + ((to[axis] - one) * step) / pieces);
  return [...Array(pieces).keys()].map((step) => [at(step), at(step + 1)]);
}

/** The line between two atoms, as far as it is seen outside both. */
function between(from, to, radiusFrom, radiusTo) {
  const way = from.map((one, axis) => to[axis] - one);
  const length = Math.hypot(...way);
  const along = (share) => from.map((one, axis) => one + share * way[axis]);
  return [along(radiusFrom / length), along(1 - radiusTo / length)];
}

/** Shapes of a crystal as it is turned, what is behind before what is in front. */
function shapes({ atoms, elements, bonds, corners, edges, pieces, looks }, turn) {
  const [balls, ends] = [times(atoms, turn), times(corners, turn)];
  const line = (from, to, kind) => ({
    depth: (from[2] + to[2]) / 2,
    shape: element("path", { class: kind, d: `M${from[0].toFixed(2)} ${(-from[1]).toFixed(2)}L${to[0].toFixed(2)} ${(-to[1]).toFixed(2)}` }),
  });
  const ball = (place, number) => ({
    depth: place[2] + looks[number].radius,  // what is nearer than its middle may still be within
    shape: element("circle", { class: "atom", cx: place[0].toFixed(2), cy: (-place[1]).toFixed(2),
                               r: looks[number].radius, fill: looks[number].colour }),
  });
  return [
    ...edges.flatMap(([a, b]) => cut(ends[a], ends[b], pieces).map((part) => line(...part, "edge"))),
    ...bonds.map(([a, b]) => line(...between(balls[a], balls[b], looks[elements[a]].radius, looks[elements[b]].radius), "bond")),
    ...balls.map((place, one) => ball(place, elements[one])),
  ].sort((a, b) => a.depth - b.depth).map((one) => one.shape);
}

function turning(figure) {
  const picture = figure.querySelector("svg.crystal");
  const crystal = JSON.parse(figure.querySelector("script").textContent);
  const width = picture.viewBox.baseVal.width;
  let { turn } = crystal;
  let zoom = 1;
  let waiting = false;

  function draw() {
    waiting = false;
    const half = (zoom * width) / 2;
    picture.setAttribute("viewBox", `${-half} ${-half} ${2 * half} ${2 * half}`);
    picture.replaceChildren(...shapes(crystal, turn));
  }
  function change(right, up, factor = 1) {
    turn = times(turn, around(right, up));
    zoom = Math.min(ZOOMS[1], Math.max(ZOOMS[0], zoom * factor));
    if (!waiting) requestAnimationFrame(draw);
    waiting = true;
  }

  const KEYS = {
    ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP],
    "+": [0, 0, 0.85], "=": [0, 0, 0.85], "-": [0, 0, 1 / 0.85],
  };
  figure.addEventListener("keydown", (event) => {
    if (!KEYS[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    change(...KEYS[event.key]);
  });
  picture.addEventListener("pointerdown", (event) => picture.setPointerCapture(event.pointerId));
  picture.addEventListener("pointermove", (event) => {
    if (picture.hasPointerCapture(event.pointerId)) change(event.movementX * PER_PIXEL, event.movementY * PER_PIXEL);
  });
  picture.addEventListener("wheel", (event) => {
    // A page must not stop scrolling because a picture comes under the mouse.
    if (document.activeElement !== figure) return;
    event.preventDefault();
    change(0, 0, Math.exp(event.deltaY / 600));
  }, { passive: false });
  picture.addEventListener("pointerdown", () => figure.focus({ preventScroll: true }));
  figure.querySelector(".turn-hint").hidden = false;
}

document.querySelectorAll("figure.turning").forEach(turning);
