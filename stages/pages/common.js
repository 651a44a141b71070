// Appends a new element with attributes and text to `parent` and returns it.
function element(parent, tag, attributes = {}, text = "") {
  const child = tag === "svg" || parent.namespaceURI.endsWith("svg")
    ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) child.setAttribute(name, value);
  child.textContent = text;
  return parent.appendChild(child);
}

const formatNumber = value => value == null ? "–" : Math.abs(value) >= 10 ? value.toFixed(2) : value.toFixed(4);

// Draws curves over the frames: lines [{values, colour, dashes}], and bands [{first, last, colour}] behind them. A click calls goTo(frame).
// Returns a function that moves the vertical cursor to a frame, undefined if there are no values.
function plot(parent, {title, label, frames, lines, bands = [], goTo = () => {}}) {
  const [width, height, left, bottom, top] = [420, 170, 46, 20, 8];
  const numbers = lines.flatMap(({values}) => values.filter(value => value != null));
  if (!numbers.length) return;
  let low = Math.min(...numbers), high = Math.max(...numbers);
  if (low === high) { low -= 0.5; high += 0.5; }
  const x = index => left + (width - left - 6) * (frames > 1 ? index / (frames - 1) : 0.5);
  const y = value => top + (height - bottom - top) * (high - value) / (high - low);
  const holder = element(parent, "figure");
  element(holder, "figcaption", {}, title);
  const svg = element(holder, "svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label});
  for (const {first, last, colour} of bands) {
    const [from, to] = [Math.max(x(first - 0.5), left), Math.min(x(last + 0.5), width - 6)];
    element(svg, "rect", {x: from, y: top, width: Math.max(to - from, 1), height: height - bottom - top, fill: colour});
  }
  for (const value of [low, (low + high) / 2, high]) {
    element(svg, "line", {x1: left, x2: width - 6, y1: y(value), y2: y(value), stroke: "var(--line)"});
    element(svg, "text", {x: left - 4, y: y(value) + 4, "text-anchor": "end"}, formatNumber(value).slice(0, 7));
  }
  element(svg, "text", {x: left, y: height - 4}, "0");
  element(svg, "text", {x: width - 6, y: height - 4, "text-anchor": "end"}, String(frames - 1));
  for (const {values, colour, dashes} of lines) {
    let penDown = false, path = "";
    values.forEach((value, frame) => {
      if (value != null) path += `${penDown ? "L" : "M"}${x(frame).toFixed(1)},${y(value).toFixed(1)}${penDown ? "" : "h0"}`;  // h0: a dot for a single value
      penDown = value != null;
    });
    const dashStyle = dashes ? {"stroke-dasharray": dashes} : {};
    element(svg, "path", {d: path, fill: "none", stroke: colour, "stroke-width": 1.5, "stroke-linecap": "round", ...dashStyle});
  }
  const cursor = element(svg, "line", {y1: top, y2: height - bottom, stroke: "currentColor"});
  svg.onclick = event => {
    const box = svg.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * width;
    goTo(Math.min(Math.max(Math.round((at - left) / (width - left - 6) * (frames - 1)), 0), frames - 1));
  };
  return frame => { cursor.setAttribute("x1", x(frame)); cursor.setAttribute("x2", x(frame)); };
}
