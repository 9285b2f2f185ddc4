// Shared by all parts: the data, the chosen step and coordinate, elements, numbers as text.
const content = JSON.parse(document.getElementById("content").textContent);

const bytesOf = (text) => Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));

// An array as Python packed it: {at(i, j, …), row(i), shape}.
function unpack(packed) {
  const bytes = bytesOf(packed.f4 ?? packed.i1);
  let values;
  if (packed.f4 !== undefined) {
    values = new Float32Array(bytes.buffer, 0, bytes.length / 4);
  } else {
    const levels = new Int8Array(bytes.buffer);
    const width = packed.shape[1];
    values = Float32Array.from(levels, (level, k) => (level / 127) * packed.scale[Math.floor(k / width)]);
  }
  const size = packed.shape.slice(1).reduce((product, length) => product * length, 1);
  return {
    shape: packed.shape,
    values,
    row: (i) => values.subarray(i * size, (i + 1) * size),
    at: (...index) => values[index.reduce((offset, i, k) => offset * packed.shape[k] + i, 0)],
  };
}

// The chosen step and coordinate; `onChange` registers a function that `choose` calls.
const chosen = { step: 0, coordinate: 0 };
const listeners = [];
const onChange = (listener) => listeners.push(listener);
function choose(change) {
  Object.assign(chosen, change);
  for (const listener of listeners) listener(chosen);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const element = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹";
const raised = (number) => String(number).replace("-", "⁻").replace(/\d/g, (digit) => RAISED[digit]);

// Four digits: 0.0423, 1,234, 3.2 × 10⁻⁹, −1.5.
function figure(value, digits = 4) {
  if (value === null || value === undefined || Number.isNaN(value)) return "not a number";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (value === 0) return "0";
  const size = Math.abs(value);
  let text;
  if (size >= 1e-3 && size < 1e6) {
    text = Number(size.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 12 });
  } else {
    const [mantissa, exponent] = size.toExponential(digits - 2).split("e");
    text = `${Number(mantissa)} × 10${raised(Number(exponent))}`;
  }
  return (value < 0 ? "−" : "") + text;
}

const whole = (value) => value.toLocaleString("en");
// A negative factor of a product, in brackets.
const factor = (value) => (value < 0 ? `(${figure(value)})` : figure(value));
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const signed = (value) => (value > 0 ? "var(--up)" : value < 0 ? "var(--down)" : "var(--faint)");

function card(kind, title, small, ...children) {
  const head = element("h2", {}, title);
  if (small) head.append(element("small", {}, small));
  return element("section", { class: `card ${kind}` }, head, ...children);
}

// The tensors with their first index in the flat vector.
const tensors = content.tensors.map((tensor) => ({ ...tensor, size: tensor.shape.reduce((p, n) => p * n, 1) }));
tensors.reduce((start, tensor) => ((tensor.start = start), start + tensor.size), 0);
const total = tensors.reduce((sum, tensor) => sum + tensor.size, 0);
const steps = content.steps;

function locate(coordinate) {
  const tensor = tensors.find((each) => coordinate < each.start + each.size);
  let left = coordinate - tensor.start;
  const index = [...tensor.shape].reverse().map((length) => {
    const i = left % length;
    left = Math.floor(left / length);
    return i;
  });
  return { tensor, index: index.reverse() };
}

function nameOf(coordinate) {
  const { tensor, index } = locate(coordinate);
  return tensor.size === 1 ? tensor.name : `${tensor.name}[${index.join(", ")}]`;
}
