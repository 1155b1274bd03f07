// Learning curves as the reader likes: which measure, in which cell, of which levels, against what.
// The data are those of `bnstudy.report.figures.explorer`: gaps between successive numbers, to be added up.

const undo = (gaps, unit = 1) => {
  let sum = 0;
  return gaps.map((gap) => (gap === null ? null : (sum += gap) * unit));
};

// How a value of a measure becomes a height: of an accuracy the logarithm of its error counts.
const HEIGHTS = {
  linear: { of: (value) => value, ticks, floor: (low) => low },
  log: { of: Math.log10, ticks: logTicks, floor: (low) => low },
  error: {
    of: (value) => -Math.log10(100.1 - value),
    ticks: (low, high, most) => logTicks(100.1 - high, 100.1 - low, most).map((error) => 100 - error)
      .filter((tick) => tick >= low && tick <= high),
  },
};

function explorer(figure, data) {
  const { measures, axes, levels, seeds, against } = data;
  const state = {
    measure: 0, against: 0, cell: axes.map((axis) => Math.min(1, axis.values.length - 1)),
    shown: levels.map(() => true), seeds: false, band: true, log: null, seed: null, at: null,
  };
  const color = (level) => `var(--x${levels[level].color.slice(1)},${levels[level].color})`;
  const dashes = (level) => levels[level].dash.map((length) => 2.2 * length).join(" ");

  // Controls, from the data.
  const options = (names, chosen) => names.map((name, i) => element("option", { value: i, selected: i === chosen }, name));
  const select = (label, names, key) => element("label", { class: "pick" }, element("span", {}, label),
    element("select", { name: key, onchange: (event) => change({ [key]: +event.target.value }) }, ...options(names, state[key])));
  const check = (label, key, mark = null) => element("label", {},
    element("input", { type: "checkbox", name: key, onchange: (event) => change({ [key]: event.target.checked }) }), mark, label);
  const swatch = (level) => element("svg", { class: "swatch", width: 26, height: 10, "aria-hidden": "true" },
    element("path", { d: "M1 5H25", style: `stroke:${color(level)};stroke-width:2.6;stroke-dasharray:${dashes(level)}` }));
  const cellAxis = (axis, i) => element("fieldset", { class: "pills" }, element("legend", {}, axis.label),
    ...axis.values.map((value, j) => element("label", {},
      element("input", { type: "radio", name: `${figure.id} ${axis.name}`, value: j, onchange: () => change({ cell: state.cell.with(i, j) }) }),
      element("span", {}, value))));
  const legend = element("fieldset", { class: "levels" }, element("legend", { class: "hidden" }, "Levels shown"),
    ...levels.map((level, i) => element("label", {},
      element("input", { type: "checkbox", name: `level ${i}`, onchange: (event) => change({ shown: state.shown.with(i, event.target.checked) }) }),
      swatch(i), level.name)));
  const seed = element("label", { class: "pick" }, element("span", {}, "follow seed"),
    element("select", { name: "seed", onchange: (event) => chooseSeed(event.target.value === "" ? null : +event.target.value) },
      element("option", { value: "" }, "none"), ...seeds.map((one) => element("option", { value: one }, one))));
  const svg = element("svg", { class: "chart", "aria-hidden": "true" });
  const slider = element("input", { type: "range", class: "cursor", min: 0, value: 0,
    "aria-label": "Read the curves at", oninput: () => { state.at = places[slider.value]; mark(); }, onchange: () => save() });
  const output = element("output", {});
  const live = element("div", { class: "live explorer" },
    element("div", { class: "bar" }, select("Show", measures.map((one) => one.title), "measure"), ...axes.map(cellAxis)),
    legend, element("div", { class: "plot" }, svg, slider),
    element("div", { class: "bar below" }, select("against", against.map((one) => one.name), "against"), check("log axis", "log"),
      seeds.length > 1 ? check("every seed", "seeds") : null, seeds.length > 2 ? check("95\u00a0% interval", "band") : null, seed),
    output);

  // What is drawn: for each level its places, its seeds and their means.
  const cellIndex = () => axes.reduce((index, axis, i) => index * axis.values.length + state.cell[i], 0);
  const curves = () => levels.map((_, level) => {
    const measure = measures[state.measure], cell = cellIndex(), { factor } = against[state.against];
    const [grid, runs] = data.series[state.measure][level][cell];
    const unit = factor ? factor[level][cell] : 1;
    const values = runs.map((run) => undo(run, measure.times / 10 ** measure.decimals));
    const steps = undo(data.grids[grid]);
    const points = steps.map((step, i) => {
      const at = values.map((run) => run[i] ?? null), there = at.filter((value) => value !== null);
      const middle = mean(there), n = there.length;
      const variance = there.reduce((sum, value) => sum + (value - middle) ** 2, 0) / (n - 1);
      const quantile = data.quantiles[n];
      return { step, x: step * unit, at, mean: middle, n, half: quantile ? quantile * Math.sqrt(variance / n) : null };
    });
    return unit === null ? [] : points.filter((point) => point.n && (!logarithmic() || point.step > 0));
  });
  const logarithmic = () => {
    if (state.log !== null) return state.log;
    const gaps = data.grids[data.series[state.measure][0][cellIndex()][0]].slice(1);
    return Math.max(...gaps) >= 4 * Math.min(...gaps);
  };

  let places = [], scale = null;
  const draw = () => {
    const all = curves(), drawn = all.map((points, level) => (state.shown[level] ? points : []));
    const measure = measures[state.measure], height = HEIGHTS[measure.scale];
    const narrow = svg.clientWidth < 560, width = Math.max(svg.clientWidth, 280), tall = narrow ? 300 : 400;
    const room = narrow ? 10 : Math.min(14 + 7.9 * Math.max(...levels.map((one) => one.name.length)), width / 3);
    const box = { left: 54, right: width - room, top: 12, bottom: tall - 42 };
    const points = drawn.flat();
    const values = points.flatMap((p) => [p.mean, ...(state.band && p.half && measure.scale === "linear" ? [p.mean - p.half, p.mean + p.half] : []),
      ...(state.seeds ? p.at : state.seed === null ? [] : [p.at[seeds.indexOf(state.seed)]])]).filter((v) => v !== null && v !== undefined);
    let [low, high] = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    if (low === high) [low, high] = [low - Math.abs(low) / 20 - 1e-9, high + Math.abs(high) / 20 + 1e-9];
    const xs = points.map((p) => p.x), along = logarithmic() ? Math.log10 : (x) => x;
    const [first, last] = xs.length ? [Math.min(...xs), Math.max(...xs)] : [1, 10]; // above zero, for a logarithm
    const across = (x) => box.left + (along(x) - along(first)) / (along(last) - along(first) || 1) * (box.right - box.left);
    const up = (value) => {
      const share = (height.of(Math.min(Math.max(value, low), high)) - height.of(low)) / (height.of(high) - height.of(low));
      return box.bottom - 4 - share * (box.bottom - box.top - 10);
    };
    svg.setAttribute("viewBox", `0 0 ${width} ${tall}`);
    svg.style.height = `${tall}px`;
    const back = element("g"), front = element("g");
    for (const tick of height.ticks(low, high, narrow ? 8 : 13)) {
      back.append(element("line", { class: "grid", x1: box.left, x2: box.right, y1: up(tick), y2: up(tick) }),
        element("text", { class: "tick", x: box.left - 8, y: up(tick) + 4, "text-anchor": "end" }, short(tick) + (measure.times === 100 ? "\u2009%" : "")));
    }
    const most = Math.floor((box.right - box.left) / 75);
    for (const tick of logarithmic() ? logTicks(first, last, most) : ticks(first, last, most)) {
      back.append(element("line", { class: "grid", x1: across(tick), x2: across(tick), y1: box.bottom, y2: box.bottom + 5 }),
        element("text", { class: "tick", x: across(tick), y: box.bottom + 19, "text-anchor": "middle" }, short(tick)));
    }
    back.append(element("line", { class: "base", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
    for (const [target, name] of measure.targets) {
      const y = up(target * measure.times);
      if (target * measure.times > low && target * measure.times < high) {
        back.append(element("line", { class: "target", x1: box.left, x2: box.right, y1: y, y2: y }),
          element("text", { class: "tick strong", x: box.left + 6, y: y - 6 }, `target ${name}`));
      }
    }
    const line = (line) => line.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
    const ends = [];
    drawn.forEach((points, level) => {
      if (!points.length) return;
      const tint = `--c:${color(level)}`, style = `${tint};stroke-dasharray:${dashes(level)}`;
      const known = points.filter((p) => p.half !== null);
      if (state.band && known.length > 1) {
        const edge = (sign) => known.map((p) => [across(p.x), up(p.mean + sign * p.half)]);
        back.append(element("path", { class: "band", style: tint, d: `${line([...edge(1), ...edge(-1).reverse()])}Z` }));
      }
      seeds.forEach((one, i) => {
        if (!state.seeds && one !== state.seed) return;
        const of = points.filter((p) => p.at[i] !== null && p.at[i] !== undefined).map((p) => [across(p.x), up(p.at[i])]);
        (one === state.seed ? front : back).append(element("path", { class: one === state.seed ? "seed chosen" : "seed", style: one === state.seed ? style : tint, d: line(of) }));
      });
      front.append(element("path", { class: state.seed === null ? "mean" : "mean faded", style, d: line(points.map((p) => [across(p.x), up(p.mean)])) }));
      ends.push([up(points.at(-1).mean), level, across(points.at(-1).x)]);
    });
    if (!narrow && ends.length <= 6) {
      apart(ends.map(([y]) => y), 17).forEach((y, i) => front.append(element("text",
        { class: "end", x: ends[i][2] + 9, y: y + 4, style: `--c:${color(ends[i][1])}` }, levels[ends[i][1]].name)));
    }
    const cursor = element("g", { class: "cursor" });
    svg.replaceChildren(back, front, cursor);
    places = [...new Set(xs)].sort((a, b) => a - b);
    scale = { drawn, measure, box, across, up, cursor };
    slider.max = Math.max(places.length - 1, 0);
    if (state.at === null) state.at = places[Math.round(places.length * 0.6)];
    slider.value = nearest(places, state.at);
    for (const input of live.querySelectorAll("input[type=checkbox]")) {
      input.checked = input.name.startsWith("level ") ? state.shown[+input.name.slice(6)] : input.name === "log" ? logarithmic() : state[input.name];
    }
    for (const input of live.querySelectorAll("input[type=radio]")) {
      input.checked = axes.some((axis, i) => input.name.endsWith(` ${axis.name}`) && +input.value === state.cell[i]);
    }
    for (const key of ["measure", "against"]) live.querySelector(`select[name=${key}]`).value = state[key];
    seed.lastChild.value = state.seed ?? "";
    mark();
  };

  // Where the reader looks: a line, a mark on each curve, and the numbers in words.
  const nearest = (values, x) => values.reduce((best, value, i) => (Math.abs(value - x) < Math.abs(values[best] - x) ? i : best), 0);
  const mark = () => {
    const { drawn, measure, box, across, up, cursor } = scale, x = places[slider.value];
    cursor.replaceChildren();
    output.replaceChildren();
    if (x === undefined) return output.append("Nothing is shown.");
    cursor.append(element("line", { x1: across(x), x2: across(x), y1: box.top, y2: box.bottom }),
      element("circle", { class: "knob", cx: across(x), cy: box.bottom, r: 6 }));
    const { unit } = against[state.against];
    const amount = unit === "second" ? written(x, x < 10 ? 2 : 1) : unit === "epoch" ? written(x, x % 1 < 0.005 || x % 1 > 0.995 ? 0 : 2) : written(Math.round(x), 0);
    output.append(element("b", {}, unit === "step" || unit === "epoch" ? `${unit} ${amount}` : `${amount} ${unit}${amount === "1" ? "" : "s"}`));
    const here = drawn.map((points) => points[nearest(points.map((p) => p.x), x)]);
    const read = (p) => state.seed === null ? p.mean : p.at[seeds.indexOf(state.seed)] ?? null;
    here.forEach((p, level) => {
      if (!p) return;
      const value = read(p), half = state.seed === null ? p.half : null;
      if (value !== null) cursor.append(element("circle", { cx: across(p.x), cy: up(value), r: 5, style: `--c:${color(level)}` }));
      output.append(element("span", {}, swatch(level), `${levels[level].name} `,
        element("b", {}, value === null ? "nothing" : written(value, measure.digits) + measure.unit),
        half === null ? "" : ` \u00b1\u00a0${written(half, measure.digits)}`, p.n < seeds.length ? ` (${p.n} of ${seeds.length} seeds)` : ""));
    });
    const pair = here.filter((p) => p);
    if (pair.length === 2) {
      const differences = seeds.map((_, i) => [pair[0].at[i] ?? null, pair[1].at[i] ?? null])
        .filter((both) => !both.includes(null)).map(([a, b]) => b - a);
      const wins = differences.filter((d) => d * measure.better > 0).length;
      const points = measure.times === 100 ? " points" : measure.unit;
      if (differences.length && state.seed === null) {
        output.append(element("span", {}, "difference ", element("b", {}, written(mean(differences), measure.digits, true) + points),
          measure.better ? `, better in ${wins} of ${differences.length} seeds` : ""));
      }
    }
    slider.setAttribute("aria-valuetext", [...output.children].map((part) => part.textContent).join("; "));
  };

  // The state is kept in the address: only what differs from the beginning.
  const beginning = structuredClone(state);
  const save = () => {
    const said = new URLSearchParams();
    if (state.measure !== beginning.measure) said.set("measure", measures[state.measure].name);
    if (state.against !== beginning.against) said.set("against", against[state.against].name);
    axes.forEach((axis, i) => said.set(axis.name, axis.values[state.cell[i]]));
    state.shown.forEach((shown, i) => { if (!shown) said.append("without", levels[i].name); });
    for (const key of ["seeds", "band", "log"]) if (state[key] !== beginning[key]) said.set(key, +state[key]);
    if (state.seed !== null) said.set("seed", state.seed);
    if (state.at !== null) said.set("at", +state.at.toPrecision(6));
    history.replaceState(null, "", `#${figure.id}?${said}`);
  };
  const restore = () => {
    const [id, query] = decodeHash();
    if (id !== figure.id || query === undefined) return;
    const said = new URLSearchParams(query);
    const index = (names, name, otherwise) => (names.includes(name) ? names.indexOf(name) : otherwise);
    state.measure = index(measures.map((one) => one.name), said.get("measure"), 0);
    state.against = index(against.map((one) => one.name), said.get("against"), 0);
    state.cell = axes.map((axis, i) => index(axis.values, said.get(axis.name), state.cell[i]));
    state.shown = levels.map((level) => !said.getAll("without").includes(level.name));
    for (const key of ["seeds", "band", "log"]) if (said.has(key)) state[key] = said.get(key) === "1";
    if (said.has("at")) state.at = +said.get("at");
    if (said.has("seed")) chooseSeed(+said.get("seed"));
  };
  const change = (some) => {
    if ("against" in some || "measure" in some) {
      some = { at: null, ...some };
      if ("measure" in some) some.log = null;
    }
    Object.assign(state, some);
    draw();
    save();
  };
  onSeed((one, again) => {
    state.seed = seeds.includes(one) ? one : null;
    if (!scale) return;
    draw();
    if (!again) save();
  });

  const look = (event) => {
    const x = (event.clientX - svg.getBoundingClientRect().left) * svg.viewBox.baseVal.width / svg.clientWidth;
    slider.value = nearest(places.map(scale.across), x);
    state.at = places[slider.value];
    mark();
  };
  svg.addEventListener("pointermove", look);
  svg.addEventListener("pointerdown", (event) => { look(event); slider.focus({ preventScroll: true }); });
  svg.addEventListener("pointerup", save);
  figure.prepend(live);
  figure.classList.add("is-live");
  restore();
  new ResizeObserver(() => { if (svg.clientWidth && svg.clientWidth !== scale?.drawnWidth) { draw(); scale.drawnWidth = svg.clientWidth; } }).observe(svg);
  draw();
}
