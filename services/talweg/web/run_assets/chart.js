// Lines over steps, with a mark at the chosen step; a click or a drag chooses the step.
const STYLES = [
  ["#0072B2", "#58b4f2", ""], ["#D55E00", "#ff9a52", ""], ["#009E73", "#3fd0a4", ""], ["#CC79A7", "#e79cc6", ""],
  ["#E69F00", "#f2c14e", "5 3"], ["#56B4E9", "#9fd6f7", "5 3"], ["#6b7280", "#b6bec7", "2 3"], ["#8b5a2b", "#d3a06a", "2 3"],
];
const dark = matchMedia("(prefers-color-scheme: dark)").matches;
const styleOf = (k) => ({ stroke: STYLES[k % STYLES.length][dark ? 1 : 0], "stroke-dasharray": STYLES[k % STYLES.length][2] });

function ticks(low, high, count) {
  const span = high - low || 1;
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = power * ([1, 2, 5, 10].find((each) => each * power >= rough) ?? 10);
  const found = [];
  for (let k = Math.ceil(low / size); k * size <= high + size * 1e-9; k++) found.push(k * size);
  return found;
}

// Logarithmic where all values are ≥ 0 and span more than a decade.
function scaleOf(values, top, bottom) {
  const finite = values.filter((value) => Number.isFinite(value));
  const positive = finite.filter((value) => value > 0);
  const least = Math.min(...positive), greatest = Math.max(...finite);
  if (finite.length && Math.min(...finite) >= 0 && positive.length && greatest > 10 * least) {
    const floor = Math.max(least, greatest * 1e-16);
    const low = Math.log10(floor) - 0.08, high = Math.log10(greatest) + 0.08;
    const decades = [];
    for (let k = Math.ceil(low); k <= high; k++) decades.push(10 ** k);
    const every = Math.ceil(decades.length / 6);
    const shown = decades.length >= 2 ? decades.filter((_, k) => k % every === 0) : [floor, greatest];
    const y = (value) => bottom - ((Math.log10(Math.max(value, floor)) - low) / (high - low)) * (bottom - top);
    return { y, ticks: shown, log: true };
  }
  let low = finite.length ? Math.min(...finite) : 0, high = finite.length ? greatest : 1;
  const room = (high - low || Math.abs(high) || 1) * 0.06;
  low -= room;
  high += room;
  return { y: (value) => bottom - ((value - low) / (high - low)) * (bottom - top), ticks: ticks(low, high, 4), log: false };
}

function path(xs, values, x, y) {
  let text = "", pen = "M";
  for (let k = 0; k < xs.length; k++) {
    if (!Number.isFinite(values[k])) {
      pen = "M";
    } else {
      text += `${pen}${x(xs[k]).toFixed(1)} ${y(values[k]).toFixed(1)}`;
      pen = "L";
    }
  }
  return text;
}

// The position in `all` of the step that is nearest to `step`.
function nearest(step, all = steps) {
  let best = 0;
  for (let k = 1; k < all.length; k++) if (Math.abs(all[k] - step) < Math.abs(all[best] - step)) best = k;
  return best;
}

// series: [{name, xs, values, dots}]; `now(k)` lists the values to mark at slider position k.
function chart({ title, small, kind, height = 210, series, now }) {
  const width = 560, left = 62, right = 10, top = 8, bottom = height - 24;
  const last = Math.max(content.made - 1, 1, ...series.flatMap((one) => one.xs.slice(-1)));
  const x = (step) => left + (step / last) * (width - left - right);
  const scale = scaleOf(series.flatMap((one) => Array.from(one.values)), top, bottom);
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": title });
  for (const tick of scale.ticks) {
    const y = scale.y(tick);
    picture.append(
      svg("line", { x1: left, x2: width - right, y1: y, y2: y, stroke: "var(--grid)" }),
      svg("text", { x: left - 8, y: y + 4, "text-anchor": "end" }, figure(tick, 3)),
    );
  }
  for (const tick of ticks(0, last, 6).filter((tick) => Number.isInteger(tick))) {
    picture.append(svg("text", { x: x(tick), y: height - 6, "text-anchor": "middle" }, whole(tick)));
  }
  series.forEach((one, k) => {
    const style = { ...styleOf(k), fill: "none", "stroke-width": one.xs.length > 300 ? 1.1 : 1.7, "stroke-linejoin": "round" };
    picture.append(svg("path", { d: path(one.xs, one.values, x, scale.y), ...style }));
    if (one.dots && one.xs.length <= 60) {
      one.xs.forEach((step, i) => {
        if (Number.isFinite(one.values[i])) {
          picture.append(svg("circle", { cx: x(step), cy: scale.y(one.values[i]), r: 2.6, fill: styleOf(k).stroke }));
        }
      });
    }
  });
  const line = svg("line", { y1: top, y2: bottom, stroke: "var(--accent)", "stroke-width": 1.4 });
  const dots = svg("g");
  const glass = svg("rect", { x: left, y: 0, width: width - left - right, height: bottom, fill: "transparent" });
  glass.style.cursor = "pointer";
  const pick = (event) => {
    const box = picture.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * width;
    choose({ step: nearest(((at - left) / (width - left - right)) * last) });
  };
  glass.addEventListener("pointerdown", (event) => (glass.setPointerCapture(event.pointerId), pick(event)));
  glass.addEventListener("pointermove", (event) => event.buttons && pick(event));
  picture.append(line, dots, glass);
  onChange(({ step }) => {
    line.setAttribute("x1", x(steps[step]));
    line.setAttribute("x2", x(steps[step]));
    dots.replaceChildren(
      ...now(step).map((value, k) => (Number.isFinite(value)
        ? svg("circle", { cx: x(steps[step]), cy: scale.y(value), r: 4, fill: styleOf(k).stroke, stroke: "var(--card)", "stroke-width": 1.5 })
        : "")),
    );
  });
  const legend = element("div", { class: "legend" });
  if (series.length > 1) {
    series.forEach((one, k) => {
      const mark = svg("svg", { viewBox: "0 0 22 8" }, svg("line", { x1: 0, x2: 22, y1: 4, y2: 4, ...styleOf(k), "stroke-width": 2.4 }));
      mark.style.width = "22px";
      legend.append(element("span", {}, mark, one.name));
    });
  }
  return card(kind, title, [small, scale.log ? "log scale" : ""].filter(Boolean).join(", "), picture, legend);
}
