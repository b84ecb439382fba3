"use strict";
// Shows the values below the pointer, or where the arrow keys have gone. The page is whole without it.
for (const chart of document.querySelectorAll("svg.chart")) {
  const cursor = chart.querySelector(".cursor");
  const said = chart.closest("figure").querySelector(".said");
  const [left, right, top, bottom] = chart.dataset.frame.split(" ").map(Number);
  const lines = [...chart.querySelectorAll("path.line")].map((path) => ({
    name: path.dataset.name,
    x: path.dataset.x.split(" "),
    y: path.dataset.y.split(" "),
    at: [...path.getAttribute("d").matchAll(/[ML]([-\d.]+) /g)].map((m) => Number(m[1])),
  })).filter((line) => line.at.length > 0);
  if (lines.length === 0) continue;
  const places = [...new Set(lines.flatMap((line) => line.at))].sort((a, b) => a - b);
  // Half the widest step between points: a line that has ended has no value beyond.
  const reach = Math.max(8, ...places.slice(1).map((at, i) => (at - places[i]) / 2));
  const make = (name, attributes, text) => {
    const element = document.createElementNS(chart.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text) element.textContent = text;
    cursor.append(element);
    return element;
  };
  const closest = (list, x) => list.reduce((best, at, i) => Math.abs(at - x) < Math.abs(list[best] - x) ? i : best, 0);
  let place = -1;
  const hide = () => {
    place = -1;
    said.textContent = "";
    cursor.replaceChildren();
  };
  const show = (index) => {
    place = index;
    cursor.replaceChildren();
    const x = places[place];
    const found = lines.map((line) => ({ line, i: closest(line.at, x) })).filter(({ line, i }) => Math.abs(line.at[i] - x) <= reach);
    const { line: first, i } = found.find((one) => one.line.at[one.i] === x);
    const value = chart.dataset.scale === "nines" ? Number((first.x[i] * 100).toFixed(5)) + "%" : first.x[i];
    const rows = [chart.dataset.x + " " + value, ...found.map((one) => one.line.name + "  " + one.line.y[one.i])];
    make("path", { d: `M${x} ${top}V${bottom}` });
    const box = make("rect", { y: top + 8, height: 8 + 17 * rows.length, rx: 3 });
    const texts = rows.map((row, n) => make("text", { y: top + 24 + 17 * n }, row));
    const width = 16 + Math.max(...texts.map((text) => text.getComputedTextLength()));
    const beside = x + 10 + width < right ? x + 10 : x - 10 - width;
    const from = Math.max(2, Math.min(beside, right - width));
    box.setAttribute("x", from);
    box.setAttribute("width", width);
    for (const text of texts) text.setAttribute("x", from + 8);
    return rows;
  };
  const point = (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse());
    if (at.x < left - 8 || at.x > right + 8) hide();
    else show(closest(places, at.x));
  };
  chart.addEventListener("pointermove", point);
  chart.addEventListener("pointerdown", point);
  // A finger that is lifted leaves what it has pointed at.
  chart.addEventListener("pointerleave", (event) => { if (event.pointerType === "mouse") hide(); });
  chart.tabIndex = 0;
  chart.addEventListener("blur", hide);
  chart.addEventListener("keydown", (event) => {
    const last = places.length - 1;
    const to = { ArrowRight: Math.min(place + 1, last), ArrowLeft: place < 0 ? last : Math.max(place - 1, 0), Home: 0, End: last }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      said.textContent = show(to).join(", ");
    } else if (event.key === "Escape") hide();
  });
}
