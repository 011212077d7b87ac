// A bar for each class, in [0, 1], or for each dimension, from -1 to 1.

export class Bars {
  constructor(list, names, colours, isSigned) {
    this.list = list;
    this.isSigned = isSigned;
    list.replaceChildren();
    list.classList.toggle("signed", isSigned);
    this.rows = names.map((name, k) => {
      const row = document.createElement("li");
      const parts = ["name", "track", "value"].map((kind) => {
        const part = document.createElement("span");
        part.className = kind;
        row.append(part);
        return part;
      });
      const [label, track, value] = parts;
      label.textContent = name;
      label.title = name;
      track.setAttribute("role", "meter");
      track.setAttribute("aria-label", name);
      track.setAttribute("aria-valuemin", isSigned ? "-1" : "0");
      track.setAttribute("aria-valuemax", "1");
      const fill = document.createElement("span");
      fill.className = "fill";
      fill.style.background = `var(${colours[k]})`;
      track.append(fill);
      value.setAttribute("aria-hidden", "true");
      list.append(row);
      return { row, track, fill, value };
    });
    this.show(null);
  }

  show(values) {
    this.list.classList.toggle("empty", !values);
    const first = values && !this.isSigned ? values.indexOf(Math.max(...values)) : -1;
    this.rows.forEach(({ row, track, fill, value }, k) => {
      row.classList.toggle("first", k === first);
      if (!values) {
        value.textContent = "–";
        track.setAttribute("aria-valuenow", "0");
        track.setAttribute("aria-valuetext", "no prediction");
        return;
      }
      const number = values[k];
      const said = this.isSigned ? number.toFixed(2) : `${Math.round(100 * number)} %`;
      value.textContent = said;
      track.setAttribute("aria-valuenow", number.toFixed(2));
      track.setAttribute("aria-valuetext", said);
      const share = this.isSigned ? Math.max(-1, Math.min(1, number)) / 2 : number;
      fill.style.transform = `scaleX(${share})`;
    });
  }
}
