// What the live figures share: elements, scales with round ticks, and numbers as the page writes them.

const element = (name, attributes = {}, ...children) => {
  const svg = /^(svg|g|path|line|circle|rect|text|tspan|title)$/.test(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value !== null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
};

const written = (x, digits, signed = false) => {
  const text = digits === null ? String(+x.toPrecision(4))
    : x.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const sign = signed && x > 0 && /[1-9]/.test(text) ? "+" : "";
  return sign + (/[1-9]/.test(text) ? text.replace("-", "\u2212") : text.replace("-", ""));
};

const short = (x) => (+x.toPrecision(6)).toLocaleString("en", { maximumFractionDigits: 6 })
  .replace("-", "\u2212");

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

// Round numbers from low to high, at most `most` of them.
const ticks = (low, high, most) => {
  const rough = (high - low) / Math.max(most - 1, 1);
  const size = 10 ** Math.floor(Math.log10(rough));
  const gap = size * [1, 2, 5, 10].find((times) => times * size >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / gap - 1e-9); i * gap <= high + gap * 1e-9; i++) found.push(+(i * gap).toPrecision(12));
  return found;
};

// The same for a logarithmic axis: as many of 1, 2, 5 and so on as have room.
const logTicks = (low, high, most) => {
  const within = (steps) => {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const step of steps) found.push(+(step * 10 ** power).toPrecision(12));
    }
    return found.filter((tick) => tick >= low * 0.999999 && tick <= high * 1.000001);
  };
  const kinds = [[1, 1.5, 2, 3, 4, 5, 7], [1, 2, 5], [1, 3], [1]].map(within);
  const fitting = kinds.find((found) => found.length <= most && found.length > 1);
  return fitting ?? ticks(low, high, Math.min(most, 4)).filter((tick) => tick > 0);
};

// Labels of lines one under another, as far apart as letters need: places from wished places.
const apart = (places, gap) => {
  const order = places.map((_, i) => i).sort((a, b) => places[a] - places[b]);
  const found = [...places];
  order.forEach((i, k) => { if (k) found[i] = Math.max(found[i], found[order[k - 1]] + gap); });
  const shift = order.length ? (found[order.at(-1)] - places[order.at(-1)]) / 2 : 0;
  return found.map((place) => place - shift);
};
