"use strict";
const get = (id) => document.getElementById(id);
const TAKEN = ["image/jpeg", "image/png", "image/bmp"]; // what the server decodes
const NO_SERVER = "The server does not answer; is it running?";
const OPTIONS = ["thresh", "nms"]; // those with a slider
// By what the server does: its path, the title of the page, the columns of the table of results.
const TASKS = {
  detect: { title: "Find objects in a picture", columns: ["Class", "Score", "Left, top", "Right, bottom"] },
  classify: { title: "Classify a picture", columns: ["Class", "Probability"] },
};
let task = "detect";
let options = []; // of OPTIONS, those that the server has
let drawing = null; // colours by class, each with that of its text, and places of labels
let pictures = []; // shown or about to be: the file, what is sent of it, its part of the page
let round = 0; // of requests for all pictures; only the answers of the last one count

function say(text, bad = false) {
  get("status").textContent = text;
  get("status").classList.toggle("bad", bad);
}

function make(tag, text = "", name = "") {
  const element = document.createElement(tag);
  element.textContent = text;
  element.className = name;
  return element;
}

function paint(element, row) {
  const [ground, text] = drawing.colours[row.class % drawing.colours.length];
  element.style.setProperty("--mark", ground);
  element.style.setProperty("--text", text);
}

function box(found, row) {
  const [left, top, right, bottom] = row.box;
  const element = make("div");
  const share = (value, whole) => `${(100 * value) / whole}%`;
  element.style.left = share(left, found.width);
  element.style.top = share(top, found.height);
  element.style.width = share(right - left, found.width);
  element.style.height = share(bottom - top, found.height);
  paint(element, row);
  element.append(make("span", `${row.name} ${row.score.toFixed(2)}`));
  return element;
}

const resized = new ResizeObserver((entries) => entries.forEach(({ target }) => place(target)));

function shared(a, b) {
  const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
  const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
  return Math.max(width, 0) * Math.max(height, 0);
}

// Each label in turn gets the free place at its box where it covers least of the boxes, as in the
// pictures that the program draws; without one it is hidden.
function place(stage) {
  const marks = [...stage.lastChild.children];
  const labels = marks.map((mark) => mark.firstChild);
  for (const label of labels) label.hidden = false;
  const area = stage.lastChild.getBoundingClientRect();
  const boxes = marks.map((mark) => mark.getBoundingClientRect());
  const sizes = labels.map((label) => label.getBoundingClientRect());
  const taken = [];
  labels.forEach((label, i) => {
    const [box, size] = [boxes[i], sizes[i]];
    const tried = drawing.places.map(([x, y, across, down], rank) => {
      const wanted = box.left + x * box.width + across * size.width;
      const left = Math.max(area.left, Math.min(wanted, area.right - size.width));
      const above = box.top + y * box.height + down * size.height;
      const top = Math.max(area.top, Math.min(above, area.bottom - size.height));
      const spot = { left, top, right: left + size.width, bottom: top + size.height };
      const free = !taken.some((other) => shared(spot, other) > 0);
      const covers = boxes.map((other) => shared(spot, other) / (other.width * other.height || 1));
      return { spot, cost: free ? 0.01 * rank + covers.reduce((a, b) => a + b) : Infinity };
    });
    const best = tried.reduce((one, two) => (two.cost < one.cost ? two : one));
    label.hidden = best.cost === Infinity;
    if (label.hidden) return;
    taken.push(best.spot);
    label.style.left = `${best.spot.left - box.left - marks[i].clientLeft}px`;
    label.style.top = `${best.spot.top - box.top - marks[i].clientTop}px`;
  });
}

function numbers(row) {
  if (!row.box) return [row.probability.toFixed(3)];
  const [left, top, right, bottom] = row.box.map(Math.round);
  return [row.score.toFixed(2), `${left}, ${top}`, `${right}, ${bottom}`];
}

function line(row, mark) {
  const element = make("tr");
  const name = make("td");
  if (mark) name.append(make("i"));
  name.append(row.name);
  paint(element, row);
  element.append(name, ...numbers(row).map((text) => make("td", text, "number")));
  element.addEventListener("pointerenter", () => mark?.classList.add("on"));
  element.addEventListener("pointerleave", () => mark?.classList.remove("on"));
  return element;
}

function summary(rows) {
  if (task === "classify") return `${rows[0].name}, probability ${rows[0].probability.toFixed(3)},`;
  return `${rows.length === 1 ? "1 object" : `${rows.length || "No"} objects`} found`;
}

// The part of the page that shows a picture; it is added when there is something to show.
function section(picture) {
  if (!picture.section) {
    picture.section = get("result").content.firstElementChild.cloneNode(true);
    const [name, stage] = picture.section.children;
    name.textContent = picture.file.name;
    stage.firstChild.addEventListener("load", () => place(stage));
    resized.observe(stage);
    get("results").append(picture.section);
  }
  return picture.section;
}

function tell(picture, text, bad = false) {
  section(picture).classList.toggle("bad", bad);
  picture.section.querySelector(".summary").textContent = text;
  [picture.summary, picture.failed] = [text, bad];
}

function show(found, picture) {
  const rows = found.detections ?? found.classes;
  const marks = found.detections ? rows.map((row) => box(found, row)) : [];
  const [, stage, , scroll] = section(picture).children;
  const table = scroll.firstElementChild;
  stage.lastChild.replaceChildren(...marks);
  table.tHead.rows[0].replaceChildren(...heads());
  table.tBodies[0].replaceChildren(...rows.map((row, i) => line(row, marks[i])));
  table.hidden = !rows.length;
  if (!picture.url) picture.url = URL.createObjectURL(picture.blob);
  stage.firstChild.src = picture.url;
  stage.firstChild.alt = `The picture: ${summary(rows)}`;
  const size = `${found.width} x ${found.height} pixels, ${Math.round(found.ms.total)} ms`;
  tell(picture, `${summary(rows)} in ${size}`);
}

// Other formats that the browser knows are sent as PNG.
async function converted(blob) {
  if (TAKEN.includes(blob.type)) return blob;
  const bitmap = await createImageBitmap(blob);
  const canvas = document.createElement("canvas");
  canvas.width = bitmap.width;
  canvas.height = bitmap.height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

// Shows the answer for a picture; returns whether there was one, false without a server.
async function ask(picture, latest) {
  try {
    picture.blob ??= await converted(picture.file);
  } catch {
    if (latest()) tell(picture, "This is not a picture that the browser can read.", true);
    return true;
  }
  try {
    const query = new URLSearchParams(options.map((name) => [name, get(name).value]));
    const answer = await fetch(`/${task}?${query}`, { method: "POST", body: picture.blob });
    const found = await answer.json();
    if (!latest()) return true;
    if (answer.ok) show(found, picture);
    else tell(picture, `${found.error}; ${found.hint}`, true);
  } catch {
    return false;
  }
  return true;
}

async function askAll() {
  if (!pictures.length) return;
  const mine = ++round;
  const latest = () => mine === round;
  await started;
  for (const [number, picture] of pictures.entries()) {
    say(pictures.length > 1 ? `Picture ${number + 1} of ${pictures.length} ...` : "Computing ...");
    const answered = await ask(picture, latest);
    if (!latest()) return;
    if (!answered) return say(NO_SERVER, true);
  }
  conclude();
}

function conclude() {
  const failed = pictures.filter((picture) => picture.failed).length;
  const left = failed ? `, ${failed} of them cannot be used` : "";
  const [first, ...others] = pictures;
  const text = others.length ? `${pictures.length} pictures${left}` : first.summary;
  say(text, failed > 0);
}

function take(files) {
  if (!files.length) return;
  for (const { url } of pictures) if (url) URL.revokeObjectURL(url);
  get("results").replaceChildren();
  pictures = [...files].map((file) => ({ file }));
  askAll();
}

function heads() {
  const cells = TASKS[task].columns.map((text, i) => make("th", text, i ? "number" : ""));
  for (const cell of cells) cell.scope = "col";
  return cells;
}

function report(name) {
  get(`${name}-value`).textContent = Number(get(name).value).toFixed(2);
}

async function start() {
  drawing = await (await fetch("/drawing")).json();
  const health = await (await fetch("/health")).json();
  task = health.task;
  options = OPTIONS.filter((name) => name in health.defaults);
  for (const name of options) {
    get(name).value = health.defaults[name];
    get(name).parentElement.hidden = false;
    report(name);
  }
  document.title = `ghostyolo: ${TASKS[task].title.toLowerCase()}`;
  get("title").textContent = TASKS[task].title;
  get("about").textContent = `ghostyolo ${health.version}, ${health.runtime}`;
}

for (const name of OPTIONS) {
  get(name).addEventListener("input", () => report(name));
  get(name).addEventListener("change", askAll);
}
get("form").addEventListener("submit", (event) => event.preventDefault());
get("file").addEventListener("change", () => take(get("file").files));
document.addEventListener("paste", (event) => take(event.clipboardData.files));
// The whole page takes what is dropped: beside the frame, the browser would leave the page for it.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  get("drop").classList.add("over");
});
document.addEventListener("dragleave", () => get("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  get("drop").classList.remove("over");
  take(event.dataTransfer.files);
});
const started = start().catch(() => say(NO_SERVER, true));
