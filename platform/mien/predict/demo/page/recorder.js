// A recording: the numbers on the page, kept here until they are saved or discarded.

const MOST_ROWS = 360000; // ten hours

export class Recorder {
  constructor(names) {
    this.columns = ["time", "seconds", ...names, "face", "voice", "latency_ms"];
    this.rows = [];
    this.isOn = false;
  }

  start() {
    this.rows = [];
    this.from = performance.now();
    this.isOn = true;
  }

  // Whether there was room for it
  add(prediction, latencyMs) {
    if (!this.isOn) return true;
    if (this.rows.length >= MOST_ROWS) return false;
    const values = prediction.values ?? this.columns.slice(2, -3).map(() => null);
    const seconds = (performance.now() - this.from) / 1000;
    const latency = latencyMs === null ? null : Math.round(10 * latencyMs) / 10;
    const row = [new Date().toISOString(), Math.round(1000 * seconds) / 1000, ...values];
    this.rows.push([...row, prediction.face.state, prediction.voice.state, latency]);
    return true;
  }

  csv() {
    const cell = (value) => (value === null ? "" : /[",\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value);
    return `${[this.columns, ...this.rows].map((row) => row.map(cell).join(",")).join("\n")}\n`;
  }

  async parquet() {
    const answer = await fetch(`/record.parquet${location.search}`, {
      method: "POST",
      body: JSON.stringify({ columns: this.columns, rows: this.rows }),
    });
    if (!answer.ok) throw new Error(await answer.text());
    return answer.blob();
  }
}

export function save(blob, ending) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = `mien-demo-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}
