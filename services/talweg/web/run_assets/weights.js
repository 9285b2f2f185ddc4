// Larger networks: every coordinate as a coloured cell at a few steps, and histograms over more steps.
const BLUE = [10, 111, 179], ORANGE = [213, 94, 0];

function ink(name) {
  const text = css(name);
  return [1, 3, 5].map((k) => parseInt(text.slice(k, k + 2), 16));
}

// The colour of −1 … 1: from blue by `ground` to orange.
function shade(share, ground) {
  const strength = Math.min(Math.abs(share), 1) ** 0.7, towards = share > 0 ? ORANGE : BLUE;
  return ground.map((part, k) => Math.round(part + (towards[k] - part) * strength));
}

function drawSheets() {
  const { steps: at, tensors: sheets } = content.snapshots;
  const quantities = { parameters: "parameters", gradient: "derivatives", update: "updates" };
  for (const sheet of sheets) for (const name of Object.keys(quantities)) sheet[name] = unpack(sheet[name]);
  let quantity = "parameters";
  const buttons = Object.entries(quantities).map(([name, word]) => element(
    "button", { "aria-pressed": name === quantity, "data-quantity": name, onclick: () => ((quantity = name), choose({})) }, word,
  ));
  const note = element("p", { class: "note" });
  const figures = sheets.map((sheet, k) => {
    const { columns, rows, cell } = arrangement(sheet);
    const canvas = element("canvas", { width: columns, height: rows });
    // A row of biases would be too thin to click.
    canvas.style.aspectRatio = `${columns} / ${Math.max(rows, columns / 30)}`;
    canvas.addEventListener("click", (event) => {
      const box = canvas.getBoundingClientRect();
      const found = cell(
        Math.floor(((event.clientX - box.left) / box.width) * columns), Math.floor(((event.clientY - box.top) / box.height) * rows),
      );
      if (found !== null) choose({ coordinate: tensors[k].start + found });
    });
    const caption = element("figcaption");
    return { sheet, canvas, columns, rows, cell, caption, holder: element("figure", {}, caption, canvas) };
  });
  onChange(({ step }) => {
    const shown = snapshot(step), ground = ink("zero");
    for (const button of buttons) button.setAttribute("aria-pressed", button.dataset.quantity === quantity);
    note.textContent = `Step ${whole(at[shown])}, the nearest of ${at.length} shown here (${at.map(whole).join(", ")}). `
      + "Orange is positive, blue negative; full colour is the value behind ±, the tensor’s greatest at this step.";
    for (const { sheet, canvas, columns, rows, cell, caption } of figures) {
      const values = sheet[quantity].row(shown), most = greatest(values) || 1;
      caption.textContent = `${sheet.name} (${sheet.shape.join(" × ")}): ±${figure(greatest(values), 3)}${sheet.tiles ? ", one image a unit" : ""}`;
      const brush = canvas.getContext("2d"), image = brush.createImageData(columns, rows);
      for (let v = 0; v < rows; v++) {
        for (let u = 0; u < columns; u++) {
          const found = cell(u, v), spot = 4 * (v * columns + u);
          const [red, green, blue] = found === null ? [0, 0, 0] : shade(values[found] / most, ground);
          image.data.set([red, green, blue, found === null ? 0 : 255], spot);
        }
      }
      brush.putImageData(image, 0, 0);
    }
  });
  return card(
    "", "Every weight", "click a cell", element("div", { class: "choice" }, ...buttons),
    element("div", { class: sheets[0].tiles ? "sheets tiled" : "sheets" }, ...figures.map(({ holder }) => holder)), note,
  );
}

const greatest = (values) => values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

// The coordinate with the greatest derivative in a snapshot.
function steepest(shown) {
  let found = 0, most = 0;
  content.snapshots.tensors.forEach(({ gradient }, k) => gradient.row(shown).forEach((value, i) => {
    if (Math.abs(value) > most) [most, found] = [Math.abs(value), tensors[k].start + i];
  }));
  return found;
}

const snapshot = (step) => nearest(steps[step], content.snapshots.steps);

// The coordinate of the tensor that a cell shows: by rows and columns, or one image a unit where the inputs are pixels.
function arrangement({ shape, tiles }) {
  const columns = shape.length > 1 ? shape[shape.length - 1] : shape.reduce((p, n) => p * n, 1);
  const rows = shape.length > 1 ? shape.slice(0, -1).reduce((p, n) => p * n, 1) : 1;
  // Tall matrices are transposed, so that they do not fill the page.
  if (!tiles && rows > 1.3 * columns) return { columns: rows, rows: columns, cell: (u, v) => u * columns + v };
  if (!tiles) return { columns, rows, cell: (u, v) => v * columns + u };
  const across = Math.ceil(Math.sqrt(columns)), down = Math.ceil(columns / across), pitch = tiles + 1;
  const cell = (u, v) => {
    const unit = Math.floor(v / pitch) * across + Math.floor(u / pitch), i = v % pitch, j = u % pitch;
    return i === tiles || j === tiles || unit >= columns ? null : (i * tiles + j) * columns + unit;
  };
  return { columns: across * pitch - 1, rows: down * pitch - 1, cell };
}

function drawHistograms() {
  const { steps: at, bins, tensors: own } = content.histograms;
  const width = 260, height = 118;
  const holder = element("div", { class: "spread" });
  const word = { parameters: "parameters", gradient: "derivatives" };
  for (const tensor of own) {
    for (const quantity of ["gradient", "parameters"]) {
      const { limit, counts } = tensor[quantity];
      const rows = unpack(counts), ground = ink("zero"), accent = ink("accent");
      const canvas = element("canvas", { width: at.length, height: bins });
      canvas.style.height = `${height}px`;
      canvas.style.imageRendering = "auto";
      const brush = canvas.getContext("2d"), image = brush.createImageData(at.length, bins);
      let most = 1;
      for (const value of rows.values) most = Math.max(most, value);
      for (let k = 0; k < at.length; k++) {
        for (let bin = 0; bin < bins; bin++) {
          const share = Math.log1p(rows.at(k, bin)) / Math.log1p(most);
          const colour = ground.map((part, c) => Math.round(part + (accent[c] - part) * share));
          image.data.set([...colour, 255], 4 * ((bins - 1 - bin) * at.length + k));
        }
      }
      brush.putImageData(image, 0, 0);
      canvas.addEventListener("click", (event) => {
        const box = canvas.getBoundingClientRect();
        const share = (event.clientX - box.left) / box.width;
        choose({ step: nearest(at[Math.min(Math.floor(share * at.length), at.length - 1)]) });
      });
      const line = element("div");
      line.style.cssText = "position:absolute;top:0;bottom:0;width:2px;background:var(--up)";
      const frame = element("div", {}, canvas, line);
      frame.style.position = "relative";
      onChange(({ step }) => {
        let k = 0;
        while (k + 1 < at.length && at[k + 1] <= steps[step]) k++;
        line.style.left = `calc(${(100 * (k + 0.5)) / at.length}% - 1px)`;
      });
      const caption = `${tensor.name}, ${word[quantity]}: ±${figure(limit, 3)}`;
      holder.append(element("figure", {}, element("figcaption", {}, caption), frame));
    }
  }
  const left = own.length < tensors.length ? `, the first ${own.length} of ${tensors.length} tensors` : "";
  return card("", "Histograms over time", `horizontal: ${at.length} steps; vertical: the value; darker: more coordinates${left}`, holder);
}
