// The network: one line a weight; its width is the size of the weight, its colour the sign of the derivative.
const layers = (content.network?.layers ?? []).map((layer) => ({
  ...layer,
  inputs: unpack(layer.inputs),
  arriving: unpack(layer.arriving),
  deltas: unpack(layer.deltas),
  weight: tensors.find((tensor) => tensor.name === `${layer.name}.weight`),
  shift: tensors.find((tensor) => tensor.name === `${layer.name}.bias`),
}));
const vectors = content.vectors && Object.fromEntries(
  Object.entries(content.vectors).map(([name, packed]) => [name, unpack(packed)]),
);

// Greatest absolute value of a tensor over all shown steps: one scale of widths and colours for all of them.
function reach(vector, tensor) {
  let greatest = 0;
  for (let k = 0; k < steps.length; k++) {
    const row = vector.row(k);
    for (let i = tensor.start; i < tensor.start + tensor.size; i++) {
      if (Number.isFinite(row[i])) greatest = Math.max(greatest, Math.abs(row[i]));
    }
  }
  return greatest || 1;
}

function drawNetwork() {
  const sizes = [layers[0].size[0], ...layers.map((layer) => layer.size[1])];
  const most = Math.max(...sizes), tiny = total <= 16;
  const width = tiny ? 400 : 620, height = Math.min(Math.max(most * 30, most > 1 ? 190 : 150), 520), side = tiny ? 44 : 46;
  const radius = Math.max(4, Math.min(15, height / most / 2.6));
  const x = (column) => side + (column / (sizes.length - 1)) * (width - 2 * side);
  const y = (column, unit) => height / 2 + (unit - (sizes[column] - 1) / 2) * (height / Math.max(most, 1.6)) * 0.94;
  const picture = svg("svg", { viewBox: `0 0 ${width} ${height + 18}`, role: "img", "aria-label": "the network" });
  const wires = [], units = svg("g"), labels = svg("g");
  layers.forEach((layer, column) => {
    const [inputs, outputs] = layer.size;
    const scales = { weight: reach(vectors.parameters, layer.weight), slope: reach(vectors.gradient, layer.weight) };
    const add = (coordinate, ends, own, thickest, atEnd) => {
      const visible = svg("line", { ...ends, "stroke-linecap": "round" });
      // A line of half a pixel cannot be clicked: a wider, transparent one takes the clicks.
      const target = svg("line", { ...ends, stroke: "transparent", "stroke-width": 9 });
      const title = svg("title");
      const wire = svg("g", { class: "wire", onclick: () => choose({ coordinate }) }, title, visible, target);
      picture.append(wire);
      let label = null;
      if (tiny) {
        const middle = { x: (ends.x1 + ends.x2) / 2, y: (ends.y1 + ends.y2) / 2 - 10 };
        const at = atEnd ? { x: ends.x1 + 9, y: ends.y1 + 8 } : { ...middle, "text-anchor": "middle" };
        label = svg("text", { ...at, class: "ink halo" });
        wire.append(label);
      }
      wires.push({ coordinate, visible, title, label, scales: own, thickest });
    };
    for (let i = 0; i < inputs; i++) {
      for (let j = 0; j < outputs; j++) {
        const ends = { x1: x(column), y1: y(column, i), x2: x(column + 1), y2: y(column + 1, j) };
        add(layer.weight.start + i * outputs + j, ends, scales, 9);
      }
    }
    if (layer.shift) {
      const own = { weight: reach(vectors.parameters, layer.shift), slope: reach(vectors.gradient, layer.shift) };
      for (let j = 0; j < outputs; j++) {
        const to = { x: x(column + 1), y: y(column + 1, j) };
        const far = radius + (tiny ? 34 : 12);
        add(layer.shift.start + j, { x1: to.x - (tiny ? 0 : far * 0.7), y1: to.y - far * (tiny ? 1 : 0.7), x2: to.x, y2: to.y }, own, 5, true);
      }
    }
  });
  const values = [];
  sizes.forEach((size, column) => {
    for (let unit = 0; unit < size; unit++) {
      const at = { cx: x(column), cy: y(column, unit) };
      units.append(svg("circle", { ...at, r: radius, fill: "var(--card)", stroke: "var(--muted)", "stroke-width": 1.4 }));
      if (tiny) {
        const text = svg("text", { x: at.cx, y: at.cy + radius + 16, "text-anchor": "middle", class: "ink halo" });
        labels.append(text);
        values.push({ text, column, unit });
      }
    }
    const name = column === 0 ? "inputs" : `${layers[column - 1].name}, ${layers[column - 1].activation}`;
    labels.append(svg("text", { x: x(column), y: height + 14, "text-anchor": "middle" }, name));
  });
  picture.append(units, labels);
  onChange(({ step, coordinate }) => {
    const parameters = vectors.parameters.row(step), gradient = vectors.gradient.row(step);
    for (const wire of wires) {
      const weight = parameters[wire.coordinate], slope = gradient[wire.coordinate];
      const selected = wire.coordinate === coordinate;
      wire.visible.setAttribute("stroke", signed(slope));
      wire.visible.setAttribute("stroke-width", 0.6 + wire.thickest * Math.min(Math.abs(weight) / wire.scales.weight, 1));
      wire.visible.setAttribute("stroke-dasharray", weight < 0 ? "7 6" : "");
      // The square root keeps small derivatives visible.
      const strength = Math.sqrt(Math.min(Math.abs(slope) / wire.scales.slope, 1));
      wire.visible.setAttribute("opacity", selected ? 1 : 0.12 + 0.88 * strength);
      wire.visible.style.filter = selected ? "drop-shadow(0 0 3px var(--accent)) drop-shadow(0 0 1px var(--accent))" : "";
      wire.title.textContent = `${nameOf(wire.coordinate)} = ${figure(weight)}, derivative ${figure(slope)}`;
      if (wire.label) wire.label.textContent = figure(weight, 3);
    }
    for (const { text, column, unit } of values) text.textContent = figure(activation(step, column, unit), 3);
  });
  const swatch = (name, extra = {}) => {
    const mark = svg("svg", { viewBox: "0 0 26 8" }, svg("line", { x1: 1, x2: 25, y1: 4, y2: 4, stroke: name, "stroke-width": 3, ...extra }));
    mark.style.width = "26px";
    return mark;
  };
  const legend = element(
    "div",
    { class: "legend" },
    element("span", {}, swatch("var(--up)"), "derivative > 0: raising it raises the cost"),
    element("span", {}, swatch("var(--down)"), "derivative < 0: raising it lowers the cost"),
    element("span", {}, swatch("var(--faint)", { "stroke-dasharray": "7 6" }), "dashed: the weight is negative"),
    element("span", {}, "width: size of the weight; strength: size of the derivative"),
  );
  return card("", "The network", "click a weight or a bias", picture, legend);
}

// Of the batch's first example.
function activation(step, column, unit) {
  if (column < layers.length) return layers[column].inputs.at(step, 0, unit);
  const last = layers[layers.length - 1], inputs = last.size[0], outputs = last.size[1];
  if (last.activation !== "identity") return NaN;
  const row = vectors.parameters.row(step);
  let sum = last.shift ? row[last.shift.start + unit] : 0;
  for (let i = 0; i < inputs; i++) sum += last.inputs.at(step, 0, i) * row[last.weight.start + i * outputs + unit];
  return sum;
}
