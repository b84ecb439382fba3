"use strict";
// Shows the values below the pointer. The page is whole without it.
for (const chart of document.querySelectorAll("svg.chart")) {
  const cursor = chart.querySelector(".cursor");
  const lines = [...chart.querySelectorAll("path.line")].map((path) => ({
    name: path.dataset.name,
    x: path.dataset.x.split(" "),
    y: path.dataset.y.split(" "),
    at: [...path.getAttribute("d").matchAll(/[ML]([-\d.]+) /g)].map((m) => Number(m[1])),
  })).filter((line) => line.at.length > 0);
  const make = (name, attributes, text) => {
    const element = document.createElementNS(chart.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text) element.textContent = text;
    cursor.append(element);
    return element;
  };
  chart.addEventListener("pointerleave", () => cursor.replaceChildren());
  chart.addEventListener("pointermove", (event) => {
    cursor.replaceChildren();
    if (lines.length === 0) return;
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    const nearest = (line) => line.at.reduce((best, at, i) =>
      Math.abs(at - point.x) < Math.abs(line.at[best] - point.x) ? i : best, 0);
    const first = nearest(lines[0]);
    const x = lines[0].at[first];
    const value = chart.dataset.scale === "nines"
      ? Number((lines[0].x[first] * 100).toFixed(5)) + "%" : lines[0].x[first];
    const rows = [chart.dataset.x + " " + value, ...lines.map((line) => line.name + "  " + line.y[nearest(line)])];
    make("path", { d: `M${x} 20V254` });
    const width = 16 + 6.6 * Math.max(...rows.map((row) => row.length));
    const left = x + 10 + width < 744 ? x + 10 : x - 10 - width;
    make("rect", { x: left, y: 28, width, height: 8 + 17 * rows.length, rx: 3 });
    rows.forEach((row, i) => make("text", { x: left + 8, y: 44 + 17 * i }, row));
  });
}
