// A test function with lines of equal cost, and the path over it.
function drawSurface() {
  const { low, high, points, minimiser } = content.surface;
  const heights = unpack(content.surface.heights).values;
  const width = 620, height = 430, left = 46, bottom = height - 26, top = 6, right = width - 8;
  const x = (value) => left + ((value - low[0]) / (high[0] - low[0])) * (right - left);
  const y = (value) => bottom - ((value - low[1]) / (high[1] - low[1])) * (bottom - top);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "the path over the cost" });
  const window = svg("clipPath", { id: "ground" }, svg("rect", { x: left, y: top, width: right - left, height: bottom - top }));
  const ground = svg("g", { "clip-path": "url(#ground)" });
  let least = Infinity, greatest = -Infinity;
  for (const value of heights) {
    least = Math.min(least, value);
    greatest = Math.max(greatest, value);
  }
  const LEVELS = 15;
  for (let k = 1; k <= LEVELS; k++) {
    const share = k / (LEVELS + 1);
    const d = contour(heights, points, least + share * (greatest - least), (i, j) => [
      x(low[0] + (i / (points - 1)) * (high[0] - low[0])), y(low[1] + (j / (points - 1)) * (high[1] - low[1])),
    ]);
    ground.append(svg("path", { d, fill: "none", stroke: "var(--faint)", "stroke-width": 0.5 + 0.7 * (1 - share), opacity: 0.35 + 0.5 * (1 - share) }));
  }
  const xs = steps.map((_, k) => vectors.parameters.at(k, 0)), ys = steps.map((_, k) => vectors.parameters.at(k, 1));
  const line = (to) => {
    let text = "";
    for (let k = 0; k <= to; k++) if (Number.isFinite(xs[k] + ys[k])) text += `${text ? "L" : "M"}${x(xs[k]).toFixed(1)} ${y(ys[k]).toFixed(1)}`;
    return text;
  };
  const trail = svg("path", { fill: "none", stroke: "var(--accent)", "stroke-width": 2, "stroke-linejoin": "round" });
  const beads = svg("g");
  if (steps.length <= 150) {
    steps.forEach((_, k) => beads.append(svg("circle", { cx: x(xs[k]), cy: y(ys[k]), r: 2, fill: "var(--accent)", opacity: 0.55 })));
  }
  const arrow = (colour, dash) => svg("line", { stroke: colour, "stroke-width": 2.6, "stroke-linecap": "round", "stroke-dasharray": dash });
  const slope = arrow("var(--up)", "2 4"), move = arrow("var(--down)", "");
  const here = svg("circle", { r: 5.5, fill: "var(--accent)", stroke: "var(--card)", "stroke-width": 2 });
  const goal = svg("path", { d: star(x(minimiser[0]), y(minimiser[1]), 8), fill: "#E69F00", stroke: "var(--card)", "stroke-width": 1 });
  ground.append(
    svg("path", { d: line(steps.length - 1), fill: "none", stroke: "var(--accent)", "stroke-width": 1.2, opacity: 0.3 }),
    beads, trail, goal, slope, move, here,
  );
  picture.append(svg("defs", {}, window), svg("rect", { x: left, y: top, width: right - left, height: bottom - top, fill: "var(--zero)" }), ground);
  for (const tick of ticks(low[0], high[0], 6)) picture.append(svg("text", { x: x(tick), y: height - 8, "text-anchor": "middle" }, figure(tick, 3)));
  for (const tick of ticks(low[1], high[1], 5)) picture.append(svg("text", { x: left - 8, y: y(tick) + 4, "text-anchor": "end" }, figure(tick, 3)));
  onChange(({ step }) => {
    trail.setAttribute("d", line(step));
    const at = [x(xs[step]), y(ys[step])];
    here.setAttribute("cx", at[0]);
    here.setAttribute("cy", at[1]);
    // Arrows of length 52 on the screen: the two axes have different scales.
    point(slope, at, -vectors.gradient.at(step, 0), -vectors.gradient.at(step, 1));
    point(move, at, vectors.update.at(step, 0), vectors.update.at(step, 1));
  });
  function point(arrow, at, first, second) {
    const across = (first / (high[0] - low[0])) * (right - left), down = (-second / (high[1] - low[1])) * (bottom - top);
    const length = Math.hypot(across, down) || 1;
    for (const [key, value] of Object.entries({ x1: at[0], y1: at[1], x2: at[0] + (across / length) * 52, y2: at[1] + (down / length) * 52 })) {
      arrow.setAttribute(key, Number.isFinite(value) ? value : at[key.startsWith("x") ? 0 : 1]);
    }
  }
  const mark = (text, colour, dash) => element(
    "span", {},
    svg("svg", { viewBox: "0 0 26 8" }, svg("line", { x1: 2, x2: 24, y1: 4, y2: 4, stroke: colour, "stroke-width": 3, "stroke-dasharray": dash, "stroke-linecap": "round" })),
    text,
  );
  const legend = element(
    "div", { class: "legend" },
    mark("path", "var(--accent)", ""), mark("steepest descent, −∂C/∂x (direction only)", "var(--up)", "2 4"),
    mark("update made (direction only)", "var(--down)", ""), element("span", {}, "★ minimum"),
  );
  for (const each of legend.querySelectorAll("svg")) each.style.width = "26px";
  return card("", "Path over the cost", "lines of equal cost, evenly spaced in log(cost − minimum)", picture, legend);
}

function star(x, y, size) {
  let text = "";
  for (let k = 0; k < 10; k++) {
    const angle = (Math.PI * k) / 5 - Math.PI / 2, reach = k % 2 ? size * 0.45 : size;
    text += `${k ? "L" : "M"}${(x + reach * Math.cos(angle)).toFixed(1)} ${(y + reach * Math.sin(angle)).toFixed(1)}`;
  }
  return `${text}Z`;
}

// Marching squares: the segments where a level crosses each cell of the grid.
function contour(values, n, level, at) {
  let text = "";
  for (let j = 0; j + 1 < n; j++) {
    for (let i = 0; i + 1 < n; i++) {
      const corners = [[i, j], [i + 1, j], [i + 1, j + 1], [i, j + 1]];
      const crossings = [];
      for (let k = 0; k < 4; k++) {
        const [a, b] = corners[k], [c, d] = corners[(k + 1) % 4];
        const from = values[b * n + a], to = values[d * n + c];
        if (from < level !== to < level) {
          const share = (level - from) / (to - from);
          crossings.push(at(a + share * (c - a), b + share * (d - b)));
        }
      }
      for (let k = 0; k + 1 < crossings.length; k += 2) {
        text += `M${crossings[k][0].toFixed(1)} ${crossings[k][1].toFixed(1)}L${crossings[k + 1][0].toFixed(1)} ${crossings[k + 1][1].toFixed(1)}`;
      }
    }
  }
  return text;
}
