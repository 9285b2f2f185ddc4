// The optimizer's rule, evaluated line by line with one step's numbers.
const rule = content.rule && {
  lines: content.rule.lines,
  before: Object.fromEntries(Object.entries(content.rule.before).map(([name, packed]) => [name, unpack(packed)])),
  after: Object.fromEntries(Object.entries(content.rule.after ?? {}).map(([name, packed]) => [name, unpack(packed)])),
  numbers: Object.fromEntries(Object.entries(content.rule.numbers).map(([name, packed]) => [name, unpack(packed)])),
};

const STRENGTH = { "+": 1, "-": 1, "*": 2, "/": 2, negative: 3, "**": 4 };
const SIGNS = { "*": "×", "/": "/", "+": "+", "-": "−", "**": "^" };
const COMPARED = { "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b, "==": (a, b) => a === b };
const CALLED = { sqrt: Math.sqrt, max: Math.max, min: Math.min, abs: Math.abs };
const ARITHMETIC = {
  "+": (a, b) => a + b, "-": (a, b) => a - b, "*": (a, b) => a * b, "/": (a, b) => a / b, "**": (a, b) => a ** b,
};

function evaluate(tree, scope) {
  const [kind, ...rest] = tree;
  if (kind === "name") return scope[rest[0]];
  if (kind === "number") return rest[0];
  if (kind === "negative") return -evaluate(rest[0], scope);
  if (kind === "call") return CALLED[rest[0]](...rest.slice(1).map((each) => evaluate(each, scope)));
  if (kind === "if") {
    const holds = COMPARED[rest[0]](evaluate(rest[1], scope), evaluate(rest[2], scope));
    return evaluate(holds ? rest[3] : rest[4], scope);
  }
  return ARITHMETIC[kind](evaluate(rest[0], scope), evaluate(rest[1], scope));
}

// The tree as text; `show(name)` gives the symbol or the number for a name.
function write(tree, show, strength = 0, right = false) {
  const [kind, ...rest] = tree;
  if (kind === "name") return show(rest[0]);
  if (kind === "number") return figure(rest[0]);
  if (kind === "call") {
    const inner = rest.slice(1).map((each) => write(each, show));
    return rest[0] === "sqrt" ? `√(${inner[0]})` : rest[0] === "abs" ? `|${inner[0]}|` : `${rest[0]}(${inner.join(", ")})`;
  }
  if (kind === "if") {
    const [sign, a, b, yes, no] = rest;
    return `(${write(yes, show)} where ${write(a, show)} ${sign} ${write(b, show)}, else ${write(no, show)})`;
  }
  const own = STRENGTH[kind];
  const text = kind === "negative"
    ? `−${write(rest[0], show, own)}`
    : `${write(rest[0], show, own)} ${SIGNS[kind]} ${write(rest[1], show, own, true)}`;
  const weaker = own < strength || (own === strength && right);
  return weaker ? `(${text})` : text;
}

const SYMBOLS = { gradient: "∂C/∂θ", parameter: "θ", learning_rate: "η", epsilon: "ε", momentum: "μ", velocity: "velocity" };
const symbol = (name) => SYMBOLS[name] ?? name.replace(/^beta(\d)$/, (_, k) => `β${"₀₁₂₃"[k]}`).replace(/^rest(\d)$/, (_, k) => `(1 − β${"₀₁₂₃"[k]})`);

function drawRule(step, coordinate) {
  const before = vectors.parameters.at(step, coordinate), update = vectors.update.at(step, coordinate);
  const box = element("div", { class: "sum" });
  if (rule.lines) {
    const scope = { gradient: vectors.gradient.at(step, coordinate), parameter: before };
    for (const [name, values] of Object.entries(rule.before)) scope[name] = values.at(step, coordinate);
    for (const [name, values] of Object.entries(rule.numbers)) scope[name] = values.at(step);
    for (const { name, tree } of rule.lines) {
      const value = evaluate(tree, scope);
      const numbers = write(tree, (each) => factor(scope[each]));
      const last = name === "update";
      box.append(element(
        "div", last ? { class: "total" } : {},
        `${last ? "update" : symbol(name)} = `, element("i", {}, `${write(tree, symbol)} = ${numbers} = `), figure(value),
      ));
      scope[name] = value;
    }
  } else {
    for (const [name, values] of Object.entries(rule.before)) {
      const after = rule.after[name];
      const change = `${figure(values.at(step, coordinate))} → ${figure(after.at(step, coordinate))}`;
      box.append(element("div", {}, `${name}: `, element("i", {}, change)));
    }
    box.append(element("div", { class: "total" }, `update = ${figure(update)}`));
  }
  box.append(element("div", { class: "total" }, `θ: ${figure(before, 6)} → ${figure(before + update, 6)}`));
  return box;
}
