"use strict";
// Curves over epochs as SVG, redrawn whole at each call; values at the pointer or at the arrow keys.
const SVG = "http://www.w3.org/2000/svg";
const BOX = { width: 560, height: 320, left: 54, right: 14, top: 12, bottom: 46 };

const made = (tag, attributes = {}, text = "") => {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.textContent = text;
  return element;
};
// Round steps of 1, 2 or 5, about n of them.
const stepOf = (top, n) => {
  const rough = top / n;
  const power = 10 ** Math.floor(Math.log10(rough));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
};
const decimals = (step) => Math.max(0, -Math.floor(Math.log10(step) + 1e-9));

// series: [{ name, values, colour, dashed }], a value per epoch or null; limits: { low, high } of the y axis, optional.
const drawCurves = (figure, { title, series, low = 0, high }) => {
  const values = series.flatMap((one) => one.values).filter((value) => value !== null);
  const nEpochs = Math.max(2, ...series.map((one) => one.values.length));
  const most = values.length ? Math.max(...values) : 1;
  const step = stepOf((high ?? most) - low || 1, 5);
  const top = high ?? low + step * Math.max(1, Math.ceil((most - low) / step));
  const x = (epoch) => BOX.left + ((epoch - 1) / (nEpochs - 1)) * (BOX.width - BOX.left - BOX.right);
  const y = (value) => BOX.height - BOX.bottom - ((value - low) / (top - low)) * (BOX.height - BOX.top - BOX.bottom);
  const svg = made("svg", { viewBox: `0 0 ${BOX.width} ${BOX.height}`, role: "img", "aria-label": title });
  for (let tick = low; tick <= top + step / 1e6; tick += step) {
    svg.append(
      made("line", { class: "grid", x1: BOX.left, x2: BOX.width - BOX.right, y1: y(tick), y2: y(tick) }),
      made("text", { x: BOX.left - 6, y: y(tick) + 4, "text-anchor": "end" }, tick.toFixed(decimals(step))),
    );
  }
  const epochStep = Math.max(1, stepOf(nEpochs, 8));
  for (let epoch = epochStep > 1 ? epochStep : 1; epoch <= nEpochs; epoch += epochStep) {
    svg.append(made("text", { x: x(epoch), y: BOX.height - BOX.bottom + 21, "text-anchor": "middle" }, epoch));
  }
  svg.append(made("text", { x: (BOX.left + BOX.width) / 2, y: BOX.height - 5, "text-anchor": "middle" }, "epoch"));
  for (const one of series) {
    const segments = [[]];
    one.values.forEach((value, i) => {
      if (value === null) segments.push([]);
      else segments.at(-1).push(`${x(i + 1).toFixed(1)},${Math.max(y(value), 0).toFixed(1)}`);
    });
    const style = `curve stroke-${one.colour}${one.dashed ? " dashed" : ""}`;
    for (const points of segments.filter((segment) => segment.length > 1)) {
      svg.append(made("polyline", { class: style, points: points.join(" ") }));
    }
    for (const points of segments.filter((segment) => segment.length === 1)) {
      const [cx, cy] = points[0].split(",");
      svg.append(made("circle", { class: `curve stroke-${one.colour}`, cx, cy, r: 2 }));
    }
  }
  const mark = made("line", { class: "mark", y1: BOX.top, y2: BOX.height - BOX.bottom, visibility: "hidden" });
  svg.append(mark);
  const heading = Object.assign(document.createElement("h3"), { textContent: title });
  const text = Object.assign(document.createElement("p"), { className: "hover-text quiet" });
  text.setAttribute("aria-live", "polite");
  const idle = "Point at the figure to read values, or focus it and press ← →.";
  text.textContent = idle;
  figure.replaceChildren(heading, svg, text);

  let now = 0;
  const show = (epoch) => {
    now = Math.min(Math.max(epoch, 1), nEpochs);
    mark.setAttribute("visibility", "visible");
    mark.setAttribute("x1", x(now));
    mark.setAttribute("x2", x(now));
    const parts = series
      .filter((one) => typeof one.values[now - 1] === "number")
      .map((one) => `${one.name} ${one.values[now - 1].toFixed(3)}`);
    text.textContent = `Epoch ${now}: ${parts.join(", ") || "no values"}`;
  };
  const clear = () => {
    now = 0;
    mark.setAttribute("visibility", "hidden");
    text.textContent = idle;
  };
  figure.onpointermove = (event) => {
    const box = svg.getBoundingClientRect();
    const share = (((event.clientX - box.left) / box.width) * BOX.width - BOX.left) / (BOX.width - BOX.left - BOX.right);
    show(Math.round(1 + share * (nEpochs - 1)));
  };
  figure.onpointerleave = () => {
    if (document.activeElement !== figure) clear();
  };
  figure.onblur = clear;
  figure.onkeydown = (event) => {
    const to = { ArrowRight: now + 1, ArrowLeft: now ? now - 1 : nEpochs, Home: 1, End: nEpochs }[event.key];
    if (event.key === "Escape") clear();
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  };
};
