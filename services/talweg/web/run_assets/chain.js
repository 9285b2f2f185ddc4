// One coordinate at one step: its derivative by the chain rule, and the optimizer's update.
function drawChain() {
  const holder = element("div", { id: "chain" });
  const section = card("", "This coordinate", "", holder);
  onChange(({ step, coordinate }) => {
    holder.replaceChildren(...explained(step, coordinate));
    section.querySelector("h2").textContent = `${nameOf(coordinate)} at step ${whole(steps[step])}`;
  });
  return section;
}

function explained(step, coordinate) {
  const parameter = vectors.parameters.at(step, coordinate), derivative = vectors.gradient.at(step, coordinate);
  const change = derivative > 0 ? "rises" : "falls";
  const meaning = derivative === 0 || !Number.isFinite(derivative)
    ? "At this point the cost does not change with it."
    : `If it is raised by a tiny δ, the cost ${change} by ${figure(Math.abs(derivative))} δ.`;
  const parts = [
    element("p", {}, "θ = ", element("b", {}, figure(parameter)), ", ∂C/∂θ = ",
      element("b", { class: derivative > 0 ? "up" : "down" }, figure(derivative)), ". ", meaning),
  ];
  if (layers.length) parts.push(element("h2", {}, "The chain rule"), product(step, coordinate, derivative));
  else if (content.surface) parts.push(element("h2", {}, "The derivative"), element("p", { class: "formula" }, content.surface.formula));
  parts.push(
    element("h2", {}, `${content.optimizer}’s update`), element("p", { class: "formula" }, content.formula), drawRule(step, coordinate),
  );
  if (rule.lines && content.rule.explanation) parts.push(element("p", { class: "note" }, content.rule.explanation));
  return parts;
}

function product(step, coordinate, derivative) {
  const { tensor, index } = locate(coordinate);
  const number = layers.findIndex((layer) => layer.weight === tensor || layer.shift === tensor);
  const layer = layers[number], weight = layer.weight === tensor;
  const [i, j] = weight ? index : [null, index[0]];
  const examples = layer.deltas.shape[1], batch = content.network.examples;
  const box = element("div", { class: "sum" });
  const line = (...children) => box.append(element("div", {}, ...children));
  let sum = 0;
  const x = number === 0 ? "x" : "a";
  if (batch > 1) line(element("i", {}, weight ? `∂C/∂w = Σ ${x}·δ over the batch’s ${batch} examples` : `∂C/∂b = Σ δ over the batch’s ${batch} examples`));
  else line(element("i", {}, weight ? `∂C/∂w = ${x} · δ` : "∂C/∂b = δ"));
  for (let n = 0; n < examples; n++) {
    const delta = layer.deltas.at(step, n, j), input = weight ? layer.inputs.at(step, n, i) : 1;
    sum += input * delta;
    const prefix = batch > 1 ? `example ${n + 1}: ` : "";
    line(weight ? `${prefix}${factor(input)} × ${factor(delta)} = ${figure(input * delta)}` : `${prefix}${figure(delta)}`);
  }
  if (batch > examples || content.network.penalty) {
    const others = batch > examples ? `the other ${batch - examples} examples together` : "";
    const penalty = content.network.penalty ? "the penalty on the weights" : "";
    line(`${[others, penalty].filter(Boolean).join(", and ")}: ${figure(derivative - sum)}`);
  }
  box.append(element("div", { class: "total" }, `= ${figure(derivative)}`));
  const first = batch > 1 ? " of example 1" : "";
  box.append(element("div", {}, element("i", {}, `δ${first}: the derivative of the cost by the weighted sum of unit ${j + 1} of ${layer.name}`)));
  line(...arriving(step, number, j));
  return box;
}

// δ = f′(z) · ∂C/∂y, and ∂C/∂y from the next layer's weights, or from the cost.
function arriving(step, number, unit) {
  const layer = layers[number], next = layers[number + 1];
  const delta = layer.deltas.at(step, 0, unit), behind = layer.arriving.at(step, 0, unit);
  const slope = layer.activation === "identity" ? "" : `${layer.activation}′ ${behind ? figure(delta / behind) : ""} × `;
  if (!next) return [`δ = ${slope}∂C/∂ŷ = ${slope ? `${factor(behind)} = ` : ""}${figure(delta)} `, element("i", {}, `by the ${content.network.cost}`)];
  const outputs = next.size[1], row = vectors.parameters.row(step);
  const terms = [];
  for (let k = 0; k < outputs; k++) {
    terms.push([row[next.weight.start + unit * outputs + k], next.deltas.at(step, 0, k)]);
  }
  const order = [...terms].sort((a, b) => Math.abs(b[0] * b[1]) - Math.abs(a[0] * a[1]));
  const shown = order.slice(0, 4).map(([w, d]) => `${factor(w)} × ${factor(d)}`).join(" + ");
  const more = terms.length > 4 ? ` + ${terms.length - 4} smaller` : "";
  const inner = slope && terms.length > 1 ? `(${shown}${more})` : `${shown}${more}`;
  return [`δ = ${slope}${inner} = ${figure(delta)} `, element("i", {}, `by the weights of ${next.name}, times its δ`)];
}
