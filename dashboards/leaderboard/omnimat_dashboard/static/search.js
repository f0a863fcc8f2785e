"use strict";

// Sends a file that was chosen or dropped, and shows what was found; words need no script.

const ask = document.getElementById("ask");

function addressOf(form) {
  const parameters = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    if (typeof value === "string" && value) parameters.append(name, value);
  }
  return parameters;
}

const answer = () => document.getElementById("answer");

function tell(text) {
  const told = document.createElement("p");
  told.className = "missing wrong";
  told.textContent = text;
  answer().replaceChildren(told);
}

function busy(isBusy) {
  answer().setAttribute("aria-busy", isBusy);
  ask.querySelector("button.primary").disabled = isBusy;
}

async function send(file) {
  const most = Number(ask.dataset.maxBytes);
  if (file.size > most) {
    tell(`${file.name} has ${file.size.toLocaleString("en")} bytes; at most ${most.toLocaleString("en")} can be searched by.`);
    return;
  }
  const parameters = addressOf(ask);
  parameters.delete("near");
  parameters.set("file", file.name);
  busy(true);
  try {
    const told = await fetch(`${location.pathname}?${parameters}`, { method: "POST", body: file });
    const page = new DOMParser().parseFromString(await told.text(), "text/html");
    const found = page.getElementById("answer");
    if (found) answer().replaceWith(found);
    else tell(page.querySelector("main p:last-of-type")?.textContent ?? "The server did not answer.");
  } catch {
    tell("The server did not answer; ask again.");
  }
  busy(false);
}

if (ask) {
  const field = document.getElementById("file");
  const words = ask.querySelector("[name=near]");
  field.parentElement.hidden = false;
  field.addEventListener("change", () => {
    words.value = "";
    if (field.files.length) send(field.files[0]);
  });
  words.addEventListener("input", () => { field.value = ""; });
  ask.addEventListener("submit", (event) => {
    if (!field.files.length) {
      busy(true);
      return;
    }
    event.preventDefault();
    send(field.files[0]);
  });
  // Coming back by the browser's button shows the page as it was left.
  addEventListener("pageshow", () => busy(false));

  ask.addEventListener("change", () => {
    const chosen = [...ask.querySelectorAll("[name=elements]:checked")].map((box) => box.value);
    document.getElementById("chosen-elements").textContent = chosen.join(", ");
  });

  const over = (isOver) => document.body.classList.toggle("dropping", isOver);
  addEventListener("dragover", (event) => {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    over(true);
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) over(false);
  });
  addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    over(false);
    field.files = event.dataTransfer.files;
    words.value = "";
    send(event.dataTransfer.files[0]);
  });
}
