"use strict";
const get = (id) => document.getElementById(id);
const TAKEN = ["image/jpeg", "image/png", "image/bmp"]; // what the server decodes
const OPTIONS = ["thresh", "nms"]; // those with a slider
// By what the server does: its path, the title of the page, the columns of the table of results.
const TASKS = {
  detect: { title: "Find objects in a picture", columns: ["Class", "Score", "Left, top", "Right, bottom"] },
  classify: { title: "Classify a picture", columns: ["Class", "Probability"] },
};
let task = "detect";
let options = []; // of OPTIONS, those that the server has
let picture = null; // the Blob that is shown or about to be
let asked = 0; // requests sent; only the answer to the last one counts
let shown = ""; // the object URL of the picture on the page

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

// Hues as far apart as the classes in the picture allow, light enough for dark text on them.
function colours(rows) {
  const classes = [...new Set(rows.map((row) => row.class))];
  return new Map(classes.map((cls, i) => [cls, `hsl(${(200 + i * 137.5) % 360} 85% 70%)`]));
}

function box(found, row, colour) {
  const [left, top, right, bottom] = row.box;
  const element = make("div", "", left > found.width * 0.6 ? "end" : "");
  const share = (value, whole) => `${(100 * value) / whole}%`;
  element.style.left = share(left, found.width);
  element.style.top = share(top, found.height);
  element.style.width = share(right - left, found.width);
  element.style.height = share(bottom - top, found.height);
  element.style.setProperty("--mark", colour);
  element.append(make("span", `${row.name} ${row.score.toFixed(2)}`));
  return element;
}

function numbers(row) {
  if (!row.box) return [row.probability.toFixed(3)];
  const [left, top, right, bottom] = row.box.map(Math.round);
  return [row.score.toFixed(2), `${left}, ${top}`, `${right}, ${bottom}`];
}

function line(row, mark, colour) {
  const element = make("tr");
  const name = make("td");
  if (mark) name.append(make("i"));
  name.append(row.name);
  element.style.setProperty("--mark", colour);
  element.append(name, ...numbers(row).map((text) => make("td", text, "number")));
  element.addEventListener("pointerenter", () => mark?.classList.add("on"));
  element.addEventListener("pointerleave", () => mark?.classList.remove("on"));
  return element;
}

function summary(rows) {
  if (task === "classify") return `${rows[0].name}, probability ${rows[0].probability.toFixed(3)},`;
  return `${rows.length === 1 ? "1 object" : `${rows.length || "No"} objects`} found`;
}

function show(found, blob) {
  const rows = found.detections ?? found.classes;
  const colour = colours(rows);
  const marks = found.detections ? rows.map((row) => box(found, row, colour.get(row.class))) : [];
  const lines = rows.map((row, i) => line(row, marks[i], colour.get(row.class)));
  get("boxes").replaceChildren(...marks);
  get("rows").replaceChildren(...lines);
  if (shown) URL.revokeObjectURL(shown);
  shown = URL.createObjectURL(blob);
  get("picture").src = shown;
  get("picture").alt = `The picture: ${summary(rows)}`;
  get("table").hidden = !rows.length;
  get("result").hidden = false;
  say(`${summary(rows)} in ${found.width} x ${found.height} pixels, ${Math.round(found.ms.total)} ms`);
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

async function ask() {
  if (!picture) return;
  const mine = ++asked;
  const latest = () => mine === asked;
  say("Computing ...");
  try {
    const query = new URLSearchParams(options.map((name) => [name, get(name).value]));
    const answer = await fetch(`/${task}?${query}`, { method: "POST", body: picture });
    const found = await answer.json();
    if (!latest()) return;
    if (answer.ok) show(found, picture);
    else fail(`${found.error}; ${found.hint}`);
  } catch {
    if (latest()) fail("The server does not answer; is it running?");
  }
}

function fail(text) {
  get("result").hidden = true;
  say(text, true);
}

async function take(blob) {
  if (!blob) return;
  try {
    picture = await converted(blob);
  } catch {
    asked++;
    picture = null;
    fail("This is not a picture that the browser can read.");
    return;
  }
  ask();
}

function report(name) {
  get(`${name}-value`).textContent = Number(get(name).value).toFixed(2);
}

async function start() {
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
  const heads = TASKS[task].columns.map((text, i) => make("th", text, i ? "number" : ""));
  for (const head of heads) head.scope = "col";
  get("head").replaceChildren(...heads);
  get("about").textContent = `ghostyolo ${health.version}, ${health.runtime}`;
}

for (const name of OPTIONS) {
  get(name).addEventListener("input", () => report(name));
  get(name).addEventListener("change", ask);
}
get("form").addEventListener("submit", (event) => event.preventDefault());
get("file").addEventListener("change", () => take(get("file").files[0]));
document.addEventListener("paste", (event) => take(event.clipboardData.files[0]));
// The whole page takes what is dropped: beside the frame, the browser would leave the page for it.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  get("drop").classList.add("over");
});
document.addEventListener("dragleave", () => get("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  get("drop").classList.remove("over");
  take(event.dataTransfer.files[0]);
});
start().catch(() => fail("The server does not answer; is it running?"));
