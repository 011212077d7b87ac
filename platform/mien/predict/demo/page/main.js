// The page: what it is given by the server and by camera and microphone, and what it shows of it.

import { Bars } from "./bars.js";
import { Capture } from "./capture.js";
import { properties } from "./colours.js";
import { Course, Plane } from "./drawings.js";
import { Link } from "./link.js";
import { Recorder, save } from "./recorder.js";

const STATES = {
  unused: "not read by this run",
  off: "off",
  waiting: "nothing comes",
  face: "seen",
  "no-face": "none in sight",
  sound: "heard",
  silence: "silence",
};
const MISSING = ["waiting", "no-face", "silence"];
const QUIETEST_DB = -60;
const SAY_EVERY_MS = 4000; // to a screen reader, and only what has changed

const at = (id) => document.getElementById(id);
const view = at("view");
let hello = null;
let bars = null;
let course = null;
let plane = null;
let recorder = null;
let isStarted = false;
let isPaused = false;
let isOver = false; // the file of the server
let pending = null; // the newest prediction that is not on the screen
let isScheduled = false;
const times = []; // when predictions were shown
const latencies = [];
const arrivals = new Map(); // of pictures that the server sent
let announced = { soundHz: 0, pictures: false }; // to the server, which takes nothing else
let lastPicture = null; // of which a prediction has been shown
let saidAt = -Infinity;
let said = "";

const panel = at("panel");
panel.style.maxWidth = `${panel.dataset.width}px`;
panel.style.minHeight = `${panel.dataset.height}px`;

const link = new Link({
  open() {
    announced = { soundHz: 0, pictures: false };
    tell("");
    if (!isStarted || hello?.source !== "browser") return;
    begin();
    showCamera();
    sendInputs();
  },
  message(message) {
    if (message.type === "hello") greet(message);
    else if (message.type === "prediction") schedule(message);
    else if (message.type === "ended") end("The file is over.", "Play again");
    else if (message.type === "failed") tell(message.why);
  },
  picture: showFilm,
  closed(text, again) {
    tell(text);
    clear();
    if (again) end(text, "Connect again");
  },
});
const capture = new Capture(at("camera"), {
  picture(number, taken, jpeg) {
    if (announced.pictures) link.sendPicture(number, taken, jpeg);
  },
  sound(number, taken, samples) {
    if (announced.soundHz) link.sendSound(number, taken, samples);
  },
  change() {
    sendInputs();
    showCamera();
    if (!capture.hasPictures && !capture.soundHz) stop();
  },
  trouble: tell,
});
link.open();

// ---------------------------------------------------------------- what the server says

function greet(message) {
  const isNew = JSON.stringify(message.names) !== JSON.stringify(hello?.names);
  hello = message;
  capture.pictureHz = Math.max(message.picture_hz, 1);
  at("about").textContent =
    `${message.family.replaceAll("_", " ")}, the last ${message.window_s.toFixed(1)} s (${message.n_frames} frames) of ` +
    [...message.features.face, ...message.features.voice].join(" and ");
  at("notes").replaceChildren(
    ...message.notes.map(({ text }) => {
      const note = document.createElement("li");
      note.textContent = text;
      return note;
    }),
  );
  if (isNew) {
    const isSigned = message.kind === "dimensions";
    const colours = properties(message.names);
    bars = new Bars(at("bars"), message.names, colours, isSigned);
    course = new Course(at("plot"), message.names, colours, isSigned);
    const [valence, arousal] = ["valence", "arousal"].map((name) => message.names.indexOf(name));
    at("plane-box").hidden = valence < 0 || arousal < 0;
    plane = valence < 0 || arousal < 0 ? null : new Plane(at("plane"), valence, arousal);
    recorder = new Recorder(message.names);
  }
  clear();
  if (message.source !== "browser") {
    begin();
  } else if (!isStarted) {
    const { face, voice } = message.features;
    at("use-camera").disabled = !face.length;
    at("use-camera").checked = face.length > 0;
    at("use-microphone").disabled = !voice.length;
    at("use-microphone").checked = voice.length > 0;
    at("choices").hidden = false;
    offer(window.isSecureContext ? "" : "Over http, browsers give no camera to pages of another machine.", "Start");
  }
}

function schedule(prediction) {
  pending = prediction;
  if (isScheduled) return;
  isScheduled = true;
  requestAnimationFrame(() => {
    isScheduled = false;
    const newest = pending;
    pending = null;
    show(newest);
    setTimeout(() => shown(newest)); // after the browser has painted it
  });
}

function show({ values, why, of, face, voice }) {
  if (isPaused || !bars || (hello.source === "browser" && !isStarted)) return;
  const now = performance.now();
  bars.show(values);
  course.add(now, values);
  plane?.add(now, values);
  const top = at("top");
  top.classList.toggle("none", !values);
  if (!values) {
    at("top-name").textContent = `No prediction: ${why}.`;
    at("top-name").style.color = "";
    at("top-value").textContent = "";
  } else if (hello.kind === "classes") {
    const first = values.indexOf(Math.max(...values));
    at("top-name").textContent = hello.names[first];
    at("top-name").style.color = `var(${properties(hello.names)[first]})`;
    at("top-value").textContent = `${Math.round(100 * values[first])} %`;
  } else {
    at("top-name").textContent = ""; // the plane and the bars say it
    at("top-value").textContent = "";
  }
  top.hidden = Boolean(values) && hello.kind !== "classes";
  state("face", face.state, values && !of.includes("face"));
  state("voice", voice.state, values && !of.includes("voice"));
  const level = voice.level_db === null ? 0 : Math.max(0, Math.min(1, 1 - voice.level_db / QUIETEST_DB));
  at("level").hidden = voice.level_db === null;
  at("level").firstElementChild.style.transform = `scaleX(${level})`;
  const box = at("box");
  box.hidden = !face.box;
  if (face.box) {
    const [left, above, right, below] = face.box.map((side) => 100 * side);
    Object.assign(box.style, { left: `${left}%`, top: `${above}%`, width: `${right - left}%`, height: `${below - above}%` });
  }
  say(values, why, now);
}

function shown(prediction) {
  if (isPaused || (hello.source === "browser" && !isStarted)) return;
  const now = performance.now();
  const taken = hello.source === "browser" ? prediction.taken_ms : (arrivals.get(prediction.picture) ?? null);
  const latency = taken === null || prediction.picture === lastPicture ? null : now - taken;
  lastPicture = prediction.picture;
  times.push(now);
  while (times[0] < now - 3000) times.shift();
  if (latency !== null) latencies.push(latency);
  while (latencies.length > 30) latencies.shift();
  if (recorder && !recorder.add(prediction, latency)) stopRecording("It is full.");
  if (recorder?.isOn) at("recorded").textContent = `${recorder.rows.length} rows`;
  const perS = times.length > 1 ? (1000 * (times.length - 1)) / (times.at(-1) - times[0]) : 0;
  at("rate").querySelector("span").textContent = times.length > 1 ? `${perS.toFixed(1)} a second` : "–";
  const median = [...latencies].sort((a, b) => a - b)[latencies.length >> 1];
  at("latency").querySelector("span").textContent = median === undefined ? "–" : `${Math.round(median)} ms`;
  const { nFrames, nPictures } = capture;
  document.dispatchEvent(new CustomEvent("mien:shown", { detail: { prediction, latency, nFrames, nPictures, nLeftOut: link.nLeftOut } }));
}

function state(id, word, isLeftOut) {
  const item = at(id);
  item.classList.toggle("missing", MISSING.includes(word));
  item.dataset.state = word;
  item.querySelector("span").textContent = STATES[word] + (isLeftOut && !["off", "unused"].includes(word) && !MISSING.includes(word) ? ", not enough yet" : "");
}

// A screen reader is told what changes, and not ten times a second
function say(values, why, now) {
  if (now - saidAt < SAY_EVERY_MS) return;
  let text = `No prediction: ${why}`;
  if (values && hello.kind === "classes") text = hello.names[values.indexOf(Math.max(...values))];
  else if (values) text = hello.names.map((name, k) => `${name} ${values[k].toFixed(1)}`).join(", ");
  at("plot").setAttribute("aria-label", `Course of the last half minute. Now: ${text}`);
  if (text === said) return;
  said = text;
  saidAt = now;
  at("said").textContent = text;
}

function clear() {
  pending = null;
  times.length = latencies.length = 0;
  arrivals.clear();
  bars?.show(null);
  at("box").hidden = true;
  at("top-name").textContent = "\u00a0";
  at("top-value").textContent = "";
  for (const id of ["face", "voice", "rate", "latency"]) at(id).querySelector("span").textContent = "–";
  at("level").firstElementChild.style.transform = "scaleX(0)";
}

async function showFilm(number, jpeg) {
  arrivals.set(number, performance.now());
  if (arrivals.size > 100) arrivals.delete(arrivals.keys().next().value);
  const film = at("film");
  let bitmap;
  try {
    bitmap = await createImageBitmap(new Blob([jpeg], { type: "image/jpeg" }));
  } catch {
    return; // a damaged picture: the next one comes
  }
  if (film.width !== bitmap.width || film.height !== bitmap.height) {
    film.width = bitmap.width;
    film.height = bitmap.height;
    fit(bitmap.width, bitmap.height);
  }
  film.hidden = false;
  view.classList.toggle("playing", !isOver); // the last picture may be ready after the end was told
  film.getContext("2d").drawImage(bitmap, 0, 0);
  bitmap.close();
}

// ---------------------------------------------------------------- what people do

at("start").addEventListener("click", async () => {
  if (!link.isOpen && hello?.source === "browser" && isStarted) {
    link.open();
    return;
  }
  if (hello?.source !== "browser") {
    link.close();
    link.open();
    return;
  }
  const camera = at("use-camera").checked;
  const microphone = at("use-microphone").checked;
  if (!camera && !microphone) {
    tell("Choose the camera, the microphone or both.");
    return;
  }
  at("start").disabled = true;
  isStarted = await capture.start({ camera, microphone });
  at("start").disabled = false;
  if (!isStarted) return;
  if (!link.isOpen) link.open();
  begin();
  showCamera();
  sendInputs();
  at("pause").focus();
});

at("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  at("pause").setAttribute("aria-pressed", String(isPaused));
  at("pause").textContent = isPaused ? "Go on" : "Pause";
  view.classList.toggle("paused", isPaused);
  at("cover-text").textContent = isPaused ? "Paused. Nothing is sent." : "";
  if (hello.source === "browser") {
    capture.pause(isPaused);
    sendInputs();
  }
  link.send({ type: "pause", paused: isPaused });
  if (!isPaused) showCamera();
});

at("record").addEventListener("click", () => {
  if (recorder.isOn) {
    stopRecording("");
    return;
  }
  recorder.start();
  at("record").setAttribute("aria-pressed", "true");
  at("record").textContent = "Stop recording";
  at("recording").hidden = false;
  for (const id of ["save-csv", "save-parquet", "discard"]) at(id).hidden = true;
});

function stopRecording(why) {
  recorder.isOn = false;
  at("record").setAttribute("aria-pressed", "false");
  at("record").textContent = "Record";
  for (const id of ["save-csv", "save-parquet", "discard"]) at(id).hidden = false;
  if (why) tell(why);
}

at("save-csv").addEventListener("click", () => save(new Blob([recorder.csv()], { type: "text/csv" }), "csv"));
at("save-parquet").addEventListener("click", async () => {
  try {
    save(await recorder.parquet(), "parquet");
  } catch (error) {
    tell(`It could not be made a Parquet file: ${error.message}.`);
  }
});
at("discard").addEventListener("click", () => {
  recorder.rows = [];
  at("recording").hidden = true;
  at("record").focus();
});

function sendInputs() {
  announced = { soundHz: isPaused ? 0 : Math.round(capture.soundHz), pictures: !isPaused && capture.hasPictures };
  link.send({ type: "inputs", sound_hz: announced.soundHz, pictures: announced.pictures });
}

function begin() {
  isOver = false;
  at("start").hidden = true;
  at("choices").hidden = true;
  at("cover-text").textContent = hello.source === "browser" ? "" : "Waiting for the first picture.";
  at("pause").disabled = at("record").disabled = false;
}

function showCamera() {
  const video = at("camera");
  video.hidden = !capture.hasPictures;
  at("image").classList.toggle("mirrored", capture.hasPictures);
  view.classList.toggle("playing", capture.hasPictures);
  at("cover-text").textContent = capture.hasPictures ? "" : "No camera: the voice alone is listened to.";
  if (video.videoWidth) fit(video.videoWidth, video.videoHeight);
}

// All that was started is gone
function stop() {
  isStarted = false;
  capture.stop();
  clear();
  offer("", "Start");
  at("choices").hidden = false;
}

function end(text, again) {
  isOver = true;
  offer(text, again);
}

function offer(text, action) {
  if (recorder?.isOn) stopRecording("");
  view.classList.remove("playing", "paused");
  at("cover-text").textContent = text;
  at("start").textContent = action;
  at("start").hidden = false;
  at("pause").disabled = at("record").disabled = true;
}

function fit(width, height) {
  view.style.aspectRatio = `${width} / ${height}`;
}

function tell(text) {
  at("trouble").textContent = text;
}
