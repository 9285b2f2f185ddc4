"use strict";
// Draws the report's charts with uPlot. All numbers are precomputed: hiding a group changes no other.
(() => {
  const charts = JSON.parse(document.getElementById("charts").textContent);
  const holders = document.querySelectorAll(".chart");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const height = 270;

  const variable = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // On a dark page the same hue, lighter: black would be invisible.
  function shade(colour, alpha = 1) {
    let parts = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    if (dark.matches) parts = parts.map((part) => Math.round(part + (255 - part) * 0.35));
    return `rgba(${parts.join(",")},${alpha})`;
  }

  function figure(value) {
    if (value === null || value === undefined) return "–";
    if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) return value.toExponential(2);
    return Number(value.toPrecision(4)).toLocaleString("en");
  }

  const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  function tick(value, logarithmic) {
    if (value === null) return "";
    if (logarithmic && (value < 1e-3 || value >= 1e5)) {
      const power = Math.round(Math.log10(value));
      if (Math.abs(value / 10 ** power - 1) > 1e-9) return "";
      return "10" + String(power).replace("-", "⁻").replace(/\d/g, (digit) => RAISED[digit]);
    }
    return Number(value.toPrecision(6)).toLocaleString("en", { maximumFractionDigits: 6 });
  }

  // The last index whose step is at most `step`; -1 before the first.
  function before(steps, step) {
    let low = 0, high = steps.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (steps[middle] <= step) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  // A logarithmic axis cannot show 0, which many test functions reach: it is drawn on the lower edge.
  function least(chart) {
    let found = Infinity;
    for (const group of chart.groups)
      for (const name of ["low", "median"])
        for (const value of group[name]) if (value > 0 && value < found) found = value;
    return found;
  }

  function tables(chart) {
    const floor = chart.log ? least(chart) : -Infinity;
    const clipped = (values) => values.map((value) => (value === null ? null : Math.max(value, floor)));
    const found = [];
    for (const group of chart.groups) {
      found.push([group.steps, clipped(group.low), clipped(group.high), clipped(group.median)]);
      if (group.smooth) found.push([group.smooth[0], clipped(group.smooth[1])]);
    }
    // A bucket whose two extremes coincide gives a step twice; uPlot.join requires each step once.
    return found.map((table) => {
      const kept = table[0].map((step, i) => i === 0 || step !== table[0][i - 1]);
      return table.map((column) => column.filter((_, i) => kept[i]));
    });
  }

  function svgLine(group) {
    const space = "http://www.w3.org/2000/svg";
    const picture = document.createElementNS(space, "svg");
    const line = document.createElementNS(space, "line");
    for (const [name, value] of Object.entries({ width: 26, height: 8, "aria-hidden": "true" })) picture.setAttribute(name, value);
    const attributes = { x1: 0, x2: 26, y1: 4, y2: 4, stroke: shade(group.colour), "stroke-width": 2.5 };
    if (group.dashes.length) attributes["stroke-dasharray"] = group.dashes.map((length) => 2.5 * length).join(" ");
    for (const [name, value] of Object.entries(attributes)) line.setAttribute(name, value);
    picture.append(line);
    return picture;
  }

  function draw(chart, holder) {
    holder.replaceChildren();
    const heading = document.createElement("h3");
    heading.textContent = chart.title;
    const note = document.createElement("p");
    note.textContent = chart.note;
    const keys = document.createElement("div");
    keys.className = "keys";
    const canvas = document.createElement("div");
    holder.append(heading, note, canvas, keys);

    const series = [{}], bands = [], members = [];
    for (const group of chart.groups) {
      const first = series.length, dash = group.dashes.map((length) => 2 * length);
      const own = [first, first + 1, first + 2];
      series.push({ width: 0, points: { show: false }, spanGaps: true }, { width: 0, points: { show: false }, spanGaps: true });
      bands.push({ series: [first + 1, first], fill: () => shade(group.colour, 0.16) });
      const thin = Boolean(group.smooth);
      series.push({
        stroke: () => shade(group.colour, thin ? 0.5 : 1),
        width: thin ? 0.7 : 2,
        dash: thin ? [] : dash,
        spanGaps: true,
        points: { show: group.steps.length === 1 },
      });
      if (thin) {
        own.push(series.length);
        series.push({ stroke: () => shade(group.colour), width: 2, dash, spanGaps: true, points: { show: false } });
      }
      members.push(own);
    }

    const axis = { stroke: () => variable("--muted"), grid: { stroke: () => variable("--grid"), width: 1 }, ticks: { show: false } };
    // On a logarithmic axis over three decades or more, only the powers of ten have a grid line.
    const lines = (plot, ticks) => {
      const { min, max } = plot.scales.y;
      if (!chart.log || max < 1000 * min) return ticks;
      return ticks.map((value) => (Math.abs(Math.log10(value) - Math.round(Math.log10(value))) < 1e-9 ? value : null));
    };
    const font = "12px system-ui, sans-serif";
    const options = {
      width: Math.max(canvas.clientWidth, 240),
      height,
      series,
      bands,
      legend: { show: false },
      scales: { x: { time: false }, y: chart.log ? { distr: 3 } : {} },
      axes: [
        { ...axis, font, label: "step", labelFont: font, labelSize: 18, size: 32, values: (_, all) => all.map((value) => tick(value, false)) },
        { ...axis, grid: { ...axis.grid, filter: lines }, font, size: 62, values: (_, all) => all.map((value) => tick(value, chart.log)) },
      ],
      cursor: { points: { show: false }, y: false },
      hooks: {
        setCursor: [(plot) => read(plot.cursor.left >= 0 ? plot.posToVal(plot.cursor.left, "x") : null)],
        draw: [
          (plot) => {
            if (chart.target === null) return;
            const y = plot.valToPos(chart.target, "y", true);
            const box = plot.bbox;
            if (y < box.top || y > box.top + box.height) return;
            const pen = plot.ctx;
            pen.save();
            pen.strokeStyle = variable("--muted");
            pen.setLineDash([4, 4]);
            pen.beginPath();
            pen.moveTo(box.left, y);
            pen.lineTo(box.left + box.width, y);
            pen.stroke();
            pen.restore();
          },
        ],
      },
    };
    const plot = new uPlot(options, uPlot.join(tables(chart)), canvas);

    const outputs = chart.groups.map((group, i) => {
      const key = document.createElement("button");
      key.type = "button";
      key.setAttribute("aria-pressed", "true");
      const value = document.createElement("output");
      key.append(svgLine(group), group.label, value);
      key.addEventListener("click", () => {
        const show = key.getAttribute("aria-pressed") !== "true";
        key.setAttribute("aria-pressed", String(show));
        plot.batch(() => members[i].forEach((index) => plot.setSeries(index, { show })));
      });
      keys.append(key);
      return value;
    });
    const where = document.createElement("output");
    keys.prepend(where);

    function read(step) {
      where.textContent = step === null ? "" : `step ${Math.max(Math.round(step), 0).toLocaleString("en")}`;
      chart.groups.forEach((group, i) => {
        const at = step === null ? -1 : before(group.steps, Math.round(step));
        const range = at >= 0 && group.low[at] !== group.high[at] ? ` (${figure(group.low[at])} – ${figure(group.high[at])})` : "";
        outputs[i].textContent = at < 0 ? "" : figure(group.median[at]) + range;
      });
    }
    return { plot, canvas };
  }

  document.documentElement.classList.add("live");
  let drawn = [];
  function all() {
    drawn.forEach(({ plot }) => plot.destroy());
    drawn = charts.map((chart, i) => draw(chart, holders[i]));
  }
  all();
  dark.addEventListener("change", all);
  addEventListener("resize", () => {
    for (const { plot, canvas } of drawn) plot.setSize({ width: Math.max(canvas.clientWidth, 240), height });
  });
})();
