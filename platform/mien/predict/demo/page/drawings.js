// The course of the last half minute, and the plane of valence and arousal, on canvases.

import { colour } from "./colours.js";

const SPAN_MS = 30000;
const GAP_MS = 5000; // without a prediction, after which a line is broken
const TRAIL_MS = 4000;

function prepared(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  const scale = window.devicePixelRatio || 1;
  if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, -apple-system, 'Segoe UI', Arial, sans-serif";
  return { context, width, height };
}

export class Course {
  constructor(canvas, names, colours, isSigned) {
    Object.assign(this, { canvas, names, colours, isSigned });
    this.points = []; // {at, values}, values null where there is none
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  add(at, values) {
    this.points.push({ at, values });
    while (this.points[0].at < at - SPAN_MS - GAP_MS) this.points.shift();
    this.draw();
  }

  draw() {
    const { context, width, height } = prepared(this.canvas);
    const left = 34;
    const right = width - 84;
    const top = 8;
    const bottom = height - 20;
    if (right - left < 40 || bottom - top < 20) return;
    const now = this.points.at(-1)?.at ?? 0;
    const x = (at) => right - ((now - at) / SPAN_MS) * (right - left);
    const y = (value) => bottom - (this.isSigned ? (value + 1) / 2 : value) * (bottom - top);
    const ink = { rule: colour("--rule"), muted: colour("--muted"), ink: colour("--ink") };

    context.textBaseline = "middle";
    context.lineWidth = 1;
    context.fillStyle = ink.muted;
    for (const value of this.isSigned ? [-1, 0, 1] : [0, 0.5, 1]) {
      context.strokeStyle = ink.rule;
      context.beginPath();
      context.moveTo(left, Math.round(y(value)) + 0.5);
      context.lineTo(right, Math.round(y(value)) + 0.5);
      context.stroke();
      context.textAlign = "right";
      context.fillText(this.isSigned ? String(value) : `${100 * value}`, left - 6, y(value));
    }
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    context.fillText(this.isSigned ? "half a minute ago" : "%, half a minute ago", left, height - 4);
    context.textAlign = "right";
    context.fillText("now", right, height - 4);
    if (!this.points.length) return;

    context.save();
    context.beginPath();
    context.rect(left, 0, right - left, height);
    context.clip();
    const latest = this.points.at(-1).values;
    const order = this.names.map((_, k) => k).sort((a, b) => (latest ? latest[a] - latest[b] : 0));
    for (const k of order) {
      const isFirst = latest && !this.isSigned && k === order.at(-1);
      context.strokeStyle = colour(this.colours[k]);
      context.lineWidth = isFirst ? 3 : 1.5;
      context.lineJoin = "round";
      context.beginPath();
      let previous = null;
      for (const { at, values } of this.points) {
        const isNext = values && previous !== null && at - previous < GAP_MS;
        if (isNext) context.lineTo(x(at), y(values[k]));
        else if (values) context.moveTo(x(at), y(values[k]));
        previous = values ? at : null;
      }
      context.stroke();
    }
    context.restore();
    if (latest) this.#label(context, latest, right + 8, y, top, bottom);
  }

  // Names beside the ends of their lines, moved apart where they would overlap; the small ones are left out
  #label(context, latest, at, y, top, bottom) {
    const room = Math.max(2, Math.floor((bottom - top) / 14));
    const shown = this.names.map((_, k) => k).sort((a, b) => latest[b] - latest[a]).slice(0, Math.min(room, 4));
    const placed = shown.map((k) => ({ k, at: y(latest[k]) })).sort((a, b) => a.at - b.at);
    for (let i = 1; i < placed.length; i += 1) placed[i].at = Math.max(placed[i].at, placed[i - 1].at + 14);
    const over = placed.length ? Math.max(0, placed.at(-1).at - bottom) : 0;
    if (over) {
      placed.at(-1).at -= over;
      for (let i = placed.length - 2; i >= 0; i -= 1) placed[i].at = Math.min(placed[i].at, placed[i + 1].at - 14);
    }
    context.textAlign = "left";
    context.textBaseline = "middle";
    for (const { k, at: height } of placed) {
      context.fillStyle = colour(this.colours[k]);
      context.fillText(this.names[k], at, height);
    }
  }
}

export class Plane {
  // valence, arousal: their places among the values
  constructor(canvas, valence, arousal) {
    Object.assign(this, { canvas, valence, arousal });
    this.points = [];
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  add(at, values) {
    if (values) this.points.push({ at, valence: values[this.valence], arousal: values[this.arousal] });
    while (this.points.length && this.points[0].at < at - TRAIL_MS) this.points.shift();
    this.isNow = Boolean(values);
    const said = values
      ? `Valence ${values[this.valence].toFixed(2)}, arousal ${values[this.arousal].toFixed(2)}, each from -1 to 1`
      : "No prediction of valence and arousal";
    this.canvas.setAttribute("aria-label", said);
    this.draw();
  }

  draw() {
    const { context, width, height } = prepared(this.canvas);
    const centre = { x: width / 2, y: height / 2 };
    const radius = Math.min(width, height) / 2 - 18;
    if (radius < 20) return;
    const x = (value) => centre.x + Math.max(-1.05, Math.min(1.05, value)) * radius;
    const y = (value) => centre.y - Math.max(-1.05, Math.min(1.05, value)) * radius;
    context.strokeStyle = colour("--rule");
    context.lineWidth = 1;
    context.strokeRect(centre.x - radius, centre.y - radius, 2 * radius, 2 * radius);
    context.beginPath();
    context.moveTo(centre.x - radius, centre.y);
    context.lineTo(centre.x + radius, centre.y);
    context.moveTo(centre.x, centre.y - radius);
    context.lineTo(centre.x, centre.y + radius);
    context.stroke();
    context.fillStyle = colour("--muted");
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    context.fillText("aroused", centre.x, centre.y - radius - 5);
    context.fillText("calm", centre.x, centre.y + radius + 14);
    context.save();
    for (const [text, side] of [["unpleasant", -1], ["pleasant", 1]]) {
      context.setTransform(1, 0, 0, 1, 0, 0);
      const scale = window.devicePixelRatio || 1;
      context.scale(scale, scale);
      context.translate(centre.x + side * (radius + 9), centre.y);
      context.rotate((side * Math.PI) / 2);
      context.fillText(text, 0, 4);
    }
    context.restore();
    const last = this.points.at(-1);
    if (!last) return;
    context.strokeStyle = colour("--blue");
    context.globalAlpha = 0.45;
    context.lineWidth = 2;
    context.beginPath();
    for (const point of this.points) context.lineTo(x(point.valence), y(point.arousal));
    context.stroke();
    context.globalAlpha = 1;
    if (!this.isNow) return;
    context.fillStyle = colour("--blue");
    context.beginPath();
    context.arc(x(last.valence), y(last.arousal), 7, 0, 2 * Math.PI);
    context.fill();
    context.strokeStyle = colour("--paper");
    context.stroke();
  }
}
