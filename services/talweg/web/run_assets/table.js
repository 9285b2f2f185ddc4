// Every coordinate of a small run at the chosen step.
function drawTable() {
  const body = element("tbody");
  const rows = Array.from({ length: total }, (_, coordinate) => {
    const cells = Array.from({ length: 4 }, () => element("td"));
    cells[0].textContent = nameOf(coordinate);
    const row = element("tr", { tabindex: 0, onclick: () => choose({ coordinate }) }, ...cells);
    row.addEventListener("keydown", (event) => event.key === "Enter" && choose({ coordinate }));
    body.append(row);
    return { row, cells };
  });
  onChange(({ step, coordinate }) => {
    const parameters = vectors.parameters.row(step), gradient = vectors.gradient.row(step), update = vectors.update.row(step);
    rows.forEach(({ row, cells }, k) => {
      row.setAttribute("aria-selected", k === coordinate);
      cells[1].textContent = figure(parameters[k]);
      cells[2].textContent = figure(gradient[k]);
      cells[2].className = gradient[k] > 0 ? "up" : gradient[k] < 0 ? "down" : "";
      cells[3].textContent = figure(update[k]);
    });
  });
  const head = element("thead", {}, element("tr", {}, ...["coordinate", "value", "derivative", "update"].map((name) => element("th", {}, name))));
  return card("", "Every coordinate", "click one", element("div", { class: "scroll" }, element("table", {}, head, body)));
}

// One coordinate of a larger run, chosen in the coloured cells.
function drawCell() {
  const text = element("p", { id: "cell" });
  const command = element("code");
  const section = card("", "One weight", "", text, element("p", { class: "note" }, "Exact values and explanation: ", command));
  onChange(({ step, coordinate }) => {
    const { tensor, index } = locate(coordinate), shown = snapshot(step), k = tensors.indexOf(tensor);
    const value = (quantity) => figure(content.snapshots.tensors[k][quantity].row(shown)[coordinate - tensor.start], 3);
    const at = content.snapshots.steps[shown];
    text.textContent = `${nameOf(coordinate)} at step ${whole(at)}: about ${value("parameters")}, derivative ${value("gradient")}, update ${value("update")}.`;
    command.textContent = `talweg explain ${content.name} ${at} ${tensor.name} ${index.join(",")}`;
  });
  return section;
}
