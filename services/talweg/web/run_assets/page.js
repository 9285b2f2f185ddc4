// The page: head, slider, and a card for each part of the content.
const costs = unpack(content.costs), rates = unpack(content.rates), norms = unpack(content.norms);
const curve = { steps: Array.from(unpack(content.curve.steps).values), costs: unpack(content.curve.costs).values };

// Norms are given for more steps than the slider has, so that their curves are complete.
const measuredAt = steps.map((step) => content.measured.indexOf(step));

function norm(step, which) {
  let sum = 0;
  for (let t = 0; t < tensors.length; t++) sum += norms.at(measuredAt[step], which, t) ** 2;
  return Math.sqrt(sum);
}

function drawHead() {
  const facts = [
    `${content.problem}`, `${whole(content.made)} of ${whole(content.asked)} steps`, `${whole(total)} parameters in ${content.precision}`,
  ];
  if (content.batch) facts.push(`batch ${content.batch}`);
  for (const [name, value] of content.settings) facts.push(`${name} ${value}`);
  const line = element("p", { class: "facts" });
  facts.forEach((fact, k) => line.append(k ? " · " : "", k ? fact : element("b", {}, fact)));
  line.append(" · ", element("span", content.state === "finished" ? {} : { class: "bad" }, content.state));
  return [element("h1", {}, content.title), line];
}

function drawBar() {
  const slider = element("input", { type: "range", min: 0, max: steps.length - 1, value: 0, "aria-label": "step" });
  const label = element("div", { class: "step" });
  const move = (by) => choose({ step: Math.min(Math.max(chosen.step + by, 0), steps.length - 1) });
  let playing = null;
  const play = element("button", { "aria-label": "play", onclick: () => (playing === null ? begin() : stop()) }, "▶");
  const stop = () => (clearInterval(playing), (playing = null), (play.textContent = "▶"));
  const begin = () => {
    if (chosen.step === steps.length - 1) choose({ step: 0 });
    play.textContent = "❚❚";
    // The whole run in about ten seconds.
    const pace = Math.max(1, Math.round(steps.length / 250));
    playing = setInterval(() => (chosen.step === steps.length - 1 ? stop() : move(pace)), Math.max(40, 10000 / steps.length));
  };
  slider.addEventListener("input", () => choose({ step: Number(slider.value) }));
  onChange(({ step }) => {
    slider.value = step;
    slider.setAttribute("aria-valuetext", `step ${steps[step]}`);
    label.replaceChildren("step ", element("b", { id: "step" }, whole(steps[step])), ` of ${whole(content.made - 1)}`);
  });
  const keys = element(
    "div", { class: "keys" }, play,
    element("button", { "aria-label": "one step back", onclick: () => move(-1) }, "‹"),
    element("button", { "aria-label": "one step on", onclick: () => move(1) }, "›"),
  );
  return element("div", { class: "bar" }, keys, slider, label);
}

function drawTiles() {
  const names = ["cost", "gradient norm", "parameter norm", "update norm", "update / parameters", "learning rate"];
  const tiles = names.map((name) => element("div", { class: "tile" }, element("span", {}, name), element("b")));
  onChange(({ step }) => {
    const [slope, size, moved] = [0, 1, 2].map((which) => norm(step, which));
    [costs.at(step), slope, size, moved, moved / size, rates.at(step)].forEach((value, k) => {
      tiles[k].lastChild.textContent = figure(value);
      tiles[k].title = String(value);
    });
  });
  return element("div", { class: "tiles" }, ...tiles);
}

function drawCosts() {
  const series = [{ name: "cost of the step’s batch", xs: curve.steps, values: curve.costs }];
  for (const { split, steps: xs, costs: values } of content.evaluations) {
    if (split === "validation" && xs.length) series.push({ name: "validation cost", xs, values: values.map((v) => v ?? NaN), dots: true });
  }
  const small = content.curve.thinned ? `${content.curve.thinned} steps a point pair, extremes kept` : "every step";
  return chart({ title: "Cost", small, kind: "half", series, now: (k) => [costs.at(k)] });
}

function drawNorms(which, title, by) {
  const value = (k, t) => norms.at(k, which, t) / (by === undefined ? 1 : norms.at(k, by, t));
  const shown = tensors.slice(0, 8);
  const series = shown.map(({ name }, t) => ({ name, xs: content.measured, values: content.measured.map((_, k) => value(k, t)) }));
  const small = tensors.length > 8 ? `the first 8 of ${tensors.length} tensors` : "";
  return chart({ title, small, kind: "half", series, now: (k) => shown.map((_, t) => value(measuredAt[k], t)) });
}

const cards = element("div", { class: "cards" });
document.body.append(element("main", {}, ...drawHead(), drawBar(), drawTiles(), cards));
if (vectors) {
  const first = content.surface ? [drawSurface()] : content.network?.drawn ? [drawNetwork()] : [];
  const left = element("div", { class: "stack more" }, ...first, drawTable());
  cards.append(left, element("div", { class: "stack less" }, drawChain()));
}
const ratio = () => drawNorms(2, "Update norm / parameter norm", 1);
if (content.snapshots || content.histograms) {
  cards.append(drawCosts(), ratio());
  if (content.snapshots) cards.append(drawSheets(), drawCell());
  if (content.histograms) cards.append(drawHistograms());
  cards.append(drawNorms(0, "Gradient norm"), drawNorms(1, "Parameter norm"));
} else {
  cards.append(drawCosts(), drawNorms(0, "Gradient norm"), ratio(), drawNorms(1, "Parameter norm"));
}
if (content.missing) cards.append(card("", "Not shown", "", element("p", {}, content.missing)));
cards.append(card("", "About", "", element("p", { class: "note" }, `Slider: ${content.kept}. Numbers here have seven digits; for exact numbers and other steps: talweg show ${content.name}, or Lab().run("${content.name}").`), element("p", { class: "note" }, `${content.optimizer}. ${content.formula} ${content.source}`)));
const middle = Math.floor(content.snapshots ? content.snapshots.steps.length / 2 : 0);
choose({ step: Math.min(1, steps.length - 1), coordinate: content.snapshots ? steepest(middle) : 0 });
