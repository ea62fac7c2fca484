// The week of an editor of hours as bars, drawn anew with each change. Numbers stand in attributes: the policy of the page
// forbids styles. What it shows stands in the editor's fields too, so it is hidden from those who listen.
const SVG = "http://www.w3.org/2000/svg";
const [DAY, NAME, ROW, BAR, TOP] = [1440, 150, 90, 46, 60];

function draw(name, attributes, text = "") {
  const shape = document.createElementNS(SVG, name);
  for (const [attribute, value] of Object.entries(attributes)) shape.setAttribute(attribute, value);
  shape.textContent = text;
  return shape;
}

const minutes = (clock) => clock.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);

// `week` as the API has it: {"mon": [["09:00", "18:00"]]}; `days` the days in their order, with short names.
export function show(picture, week, days) {
  const hours = [0, 6, 12, 18, 24].flatMap((hour) => {
    const x = NAME + hour * 60;
    const line = draw("line", { x1: x, x2: x, y1: TOP, y2: TOP + days.length * ROW, class: "grid" });
    const anchor = hour === 24 ? "end" : "middle";
    return [line, draw("text", { x, y: TOP - 20, "text-anchor": anchor }, `${hour}:00`)];
  });
  const rows = days.flatMap(([code, name], row) => {
    const y = TOP + row * ROW + (ROW - BAR) / 2;
    const bars = (week[code] ?? []).filter((span) => span.every(Boolean)).map((span) => {
      const [from, to] = span.map(minutes);
      return draw("rect", { x: NAME + from, y, width: Math.max(0, to - from), height: BAR, rx: 10, class: "open" });
    });
    const closed = draw("rect", { x: NAME, y, width: DAY, height: BAR, rx: 10, class: "closed" });
    return [draw("text", { x: 0, y: y + BAR - 10 }, name), closed, ...bars];
  });
  picture.setAttribute("viewBox", `0 0 ${NAME + DAY + 4} ${TOP + days.length * ROW}`);
  picture.replaceChildren(...rows, ...hours);
}
