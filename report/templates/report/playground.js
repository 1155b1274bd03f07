// One feature and one batch to play with: what the layer makes of them, forward and backward.
// The loss is half the sum of the squared distances of the outputs to targets.

// The layer of `torch.nn.BatchNorm1d` for one feature, and the parts of its gradient by the input.
const batchNorm = ({ x, targets, gamma, beta, epsilon, running }) => {
  const mu = mean(x), variance = mean(x.map((v) => (v - mu) ** 2)), s = Math.sqrt(variance + epsilon);
  const normalized = x.map((v) => (v - mu) / s), y = normalized.map((v) => gamma * v + beta);
  const evaluated = x.map((v) => gamma * (v - running.mean) / Math.sqrt(running.variance + epsilon) + beta);
  const g = y.map((v, i) => v - targets[i]);
  const along = mean(g.map((v, i) => v * normalized[i]));
  const own = g.map((v) => gamma / s * v);
  const centred = g.map((v) => gamma / s * (v - mean(g)));
  const full = g.map((v, i) => gamma / s * (v - mean(g) - normalized[i] * along));
  const sum = (values) => values.reduce((total, v) => total + v, 0);
  return { mu, variance, s, normalized, y, evaluated, g, own, centred, full,
    byBeta: sum(g), byGamma: sum(g.map((v, i) => v * normalized[i])) };
};

const LOW = -6, HIGH = 14, LARGEST_BATCH = 12;

function playground(figure) {
  const fresh = () => ({ x: [4, 5, 7, 8], targets: [1.5, -2, 2.5, 1], gamma: 1.5, beta: 0.5, logEpsilon: -5,
    momentum: 0.1, running: { mean: 0, variance: 1, batches: 0 }, stage: 0 });
  let state = fresh(), random = 1, held = null, grips = [], place = null;
  const uniform = () => (random = (random * 48271) % 2147483647) / 2147483647;
  const normal = (middle, deviation) => middle + deviation * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
  const within = (v) => Math.max(LOW, Math.min(HIGH, v));
  const tenth = (v) => Math.round(10 * within(v)) / 10;
  const minus = (x, digits) => written(x, digits);

  // The backward pass in steps: what is drawn, and why.
  const STAGES = [
    ["Forward", () => "Each sample becomes x̂ = (x − μ) / √(σ² + ε), then y = γ x̂ + β. Drag a sample or move it with the arrow keys: all outputs change, for all share μ and σ."],
    ["What arrives", () => "The loss pulls each output y towards its target (diamond). The arrow is the pull −g, where g = ∂L/∂y."],
    ["γ and β", (r) => `Both act on every sample, so their derivatives are sums: ∂L/∂β = Σ g = ${minus(r.byBeta, 2)} and ∂L/∂γ = Σ g x̂ = ${minus(r.byGamma, 2)}.`],
    ["A sample's own way", () => "If μ and σ were fixed numbers, as in evaluation, each input would feel its own pull alone, times γ / √(σ² + ε)."],
    ["Less the mean", () => "But each input moves μ too, and a common shift of all inputs changes nothing. So the mean pull is taken out: the arrows now add up to zero."],
    ["Less the stretch", (r) => `Nor does a common stretch change anything. What points along x̂ is taken out as well; what is left is −∂L/∂x. Added up the gradients give ${minus(mean(r.full) * r.full.length, 2)}, and along x̂ ${minus(r.full.reduce((t, v, i) => t + v * r.normalized[i], 0), 2)}${state.logEpsilon > -3 ? ", not quite zero because of ε" : ""}.`],
  ];

  const redraw = (some) => { Object.assign(state, some); draw(); };
  const slide = (label, key, min, max, step, shown = (v) => minus(v, step < 0.1 ? 2 : 1)) => {
    const value = element("output", {}), input = element("input", { type: "range", min, max, step, name: key,
      oninput: () => redraw({ [key]: +input.value }) });
    const update = () => { input.value = state[key]; value.textContent = shown(state[key]); input.setAttribute("aria-valuetext", value.textContent); };
    return { update, node: element("label", {}, element("span", {}, label), input, value) };
  };
  const sliders = [slide("scale γ", "gamma", -2, 3, 0.1), slide("shift β", "beta", -3, 3, 0.1),
    slide("ε", "logEpsilon", -5, 1, 1, (v) => (v === 0 ? "1" : v === 1 ? "10" : minus(10 ** v, -v))), slide("momentum α", "momentum", 0, 1, 0.05)];
  const button = (label, action, name = label) => element("button", { type: "button", name, onclick: action }, label);

  const train = (times) => {
    let { x, targets, running } = state;
    for (let i = 0; i < times; i++) {
      const { mu, variance } = batchNorm({ ...state, x, targets, epsilon: 1 }), m = x.length, a = state.momentum;
      if (m > 1) { // PyTorch does not train on a batch of one
        running = { mean: (1 - a) * running.mean + a * mu, variance: (1 - a) * running.variance + a * variance * m / (m - 1), batches: running.batches + 1 };
      }
      x = x.map(() => tenth(normal(5, 2)));
      targets = x.map(() => tenth(normal(0.5, 1.6)));
    }
    redraw({ x, targets, running });
  };
  const resize = (m) => {
    if (m < 1 || m > LARGEST_BATCH) return;
    const more = m > state.x.length;
    redraw({ x: more ? [...state.x, tenth(normal(5, 2))] : state.x.slice(0, m), targets: more ? [...state.targets, tenth(normal(0.5, 1.6))] : state.targets.slice(0, m) });
  };
  const go = (stage) => redraw({ stage: Math.max(0, Math.min(STAGES.length - 1, stage)) });
  const previous = button("←", () => go(state.stage - 1), "previous"), following = button("→", () => go(state.stage + 1), "next");
  previous.setAttribute("aria-label", "Previous step of the backward pass");
  following.setAttribute("aria-label", "Next step of the backward pass");
  const told = element("p", { class: "told", "aria-live": "polite" }), summary = element("output", { class: "sums" });
  const svg = element("svg", { class: "chart", role: "group", "aria-label": "Samples of a batch on number lines: input, normalized, output in training and in evaluation" });
  const body = element("tbody");
  const heads = ["sample", "x", "x̂", "y", "target", "∂L/∂y", "∂L/∂x", "y in evaluation"];
  const live = element("div", { class: "live playground" },
    element("div", { class: "stages" }, previous, told, following), svg, summary,
    element("div", { class: "sliders" }, ...sliders.map((one) => one.node)),
    element("div", { class: "bar" }, button("train on it, next batch", () => train(1), "one"), button("20 batches", () => train(20), "twenty"),
      button("one sample more", () => resize(state.x.length + 1), "more"), button("one fewer", () => resize(state.x.length - 1), "fewer"),
      button("shift all by 2", () => redraw({ x: state.x.map((v) => tenth(v + 2)) }), "shift"),
      button("stretch all by 1.5", () => redraw({ x: state.x.map((v) => tenth(5 + 1.5 * (v - 5))) }), "stretch"),
      button("start again", () => { random = 1; state = fresh(); draw(); }, "reset")),
    element("details", {}, element("summary", {}, "The same in numbers"), element("div", { class: "scroll" }, element("table", {},
      element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))), body))));

  const grip = (i) => element("g", { class: "grip", tabindex: 0, role: "slider", "aria-label": `sample ${i + 1}`, "aria-valuemin": LOW, "aria-valuemax": HIGH,
    onkeydown: (event) => {
      const by = { ArrowLeft: -0.5, ArrowDown: -0.5, ArrowRight: 0.5, ArrowUp: 0.5, PageDown: -2, PageUp: 2 }[event.key];
      const to = { Home: LOW, End: HIGH }[event.key] ?? (by === undefined ? undefined : state.x[i] + by);
      if (to === undefined) return;
      event.preventDefault();
      redraw({ x: state.x.with(i, tenth(to)) });
    },
    onpointerdown: (event) => { held = i; svg.setPointerCapture(event.pointerId); grips[i].focus({ preventScroll: true }); event.preventDefault(); },
  }, element("circle", { r: 12 }), element("text", { "text-anchor": "middle", y: 4.5 }, i + 1));
  svg.addEventListener("pointermove", (event) => {
    if (held === null) return;
    const x = (event.clientX - svg.getBoundingClientRect().left) * svg.viewBox.baseVal.width / svg.clientWidth;
    redraw({ x: state.x.with(held, tenth(LOW + (x - place.left) / (place.right - place.left) * (HIGH - LOW))) });
  });
  for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { held = null; });

  const back = element("g"), front = element("g");
  svg.append(back, front);
  const draw = () => {
    const r = batchNorm({ ...state, epsilon: 10 ** state.logEpsilon }), { running, stage } = state;
    const width = Math.max(svg.clientWidth, 280), narrow = width < 560;
    place = { left: narrow ? 16 : 150, right: width - 16 };
    const across = (v) => place.left + (within(v) - LOW) / (HIGH - LOW) * (place.right - place.left);
    const names = [["input x", 76, 54], ["normalized x̂", 166, 14], ["output y, training", 262, 44], ["output y, evaluation", 330, 14]];
    const [input, middle, output, evaluation] = names.map(([, y]) => y);
    svg.setAttribute("viewBox", `0 0 ${width} 378`);
    svg.style.height = "378px";
    const parts = [];
    for (let v = LOW; v <= HIGH; v += 2) {
      parts.push(element("line", { class: "grid", x1: across(v), x2: across(v), y1: 28, y2: 350 }),
        element("text", { class: "tick", x: across(v), y: 368, "text-anchor": "middle" }, short(v)));
    }
    for (const [name, y, above] of names) {
      parts.push(element("line", { class: "base", x1: place.left, x2: place.right, y1: y, y2: y }),
        element("text", { class: "tick strong", x: narrow ? place.left : 0, y: narrow ? y - above : y + 4 }, name));
    }
    const band = (y, at, deviation, kind) => parts.push(
      element("rect", { class: `spread ${kind}`, x: across(at - deviation), width: Math.max(across(at + deviation) - across(at - deviation), 1), y, height: 9 }),
      element("line", { class: `middle ${kind}`, x1: across(at), x2: across(at), y1: y - 3, y2: y + 12 }));
    band(input + 15, r.mu, Math.sqrt(r.variance), "batch");
    band(input + 31, running.mean, Math.sqrt(running.variance), "running");
    const arrow = (y, from, by, faint = false) => {
      const [a, b] = [across(from), across(from + by)], sign = Math.sign(b - a);
      if (Math.abs(b - a) < 2) return;
      const head = Math.min(6, Math.abs(b - a));
      parts.push(element("path", { class: faint ? "pull faint" : "pull", d: `M${a} ${y}H${b - sign * head}M${b} ${y}l${-sign * head} -4v8z` }));
    };
    state.x.forEach((v, i) => {
      const chosen = held === i || document.activeElement === grips[i];
      parts.push(element("path", { class: chosen ? "flow chosen" : "flow", d: `M${across(v)} ${input}L${across(r.normalized[i])} ${middle}L${across(r.y[i])} ${output}` }),
        element("circle", { class: "dot batch", cx: across(r.normalized[i]), cy: middle, r: chosen ? 7 : 5 }),
        element("circle", { class: "dot batch", cx: across(r.y[i]), cy: output, r: chosen ? 7 : 5 }),
        element("circle", { class: "dot running", cx: across(r.evaluated[i]), cy: evaluation, r: chosen ? 7 : 5 }));
      if (stage > 0) {
        const t = across(state.targets[i]), y = output - 14 - 7 * (i % 4);
        parts.push(element("path", { class: "aim", d: `M${t} ${y - 4}l4 4l-4 4l-4 -4z` }));
        arrow(y, r.y[i], -r.g[i]);
      }
      const pulls = [null, null, null, r.own, r.centred, r.full][stage];
      if (pulls) {
        const y = input - 18 - 6 * (i % 4);
        if (stage > 3) arrow(y, v, -[r.own, r.centred][stage - 4][i], true);
        arrow(y, v, -pulls[i]);
      }
    });
    back.replaceChildren(...parts);
    if (grips.length !== state.x.length) {
      grips = state.x.map((_, i) => grips[i] ?? grip(i));
      front.replaceChildren(...grips);
    }
    grips.forEach((one, i) => {
      one.setAttribute("transform", `translate(${across(state.x[i])} ${input})`);
      one.setAttribute("aria-valuenow", state.x[i]);
      one.setAttribute("aria-valuetext", `input ${minus(state.x[i], 1)}, normalized ${minus(r.normalized[i], 2)}, output ${minus(r.y[i], 2)}`);
    });
    for (const one of sliders) one.update();
    const m = state.x.length, many = running.batches === 1 ? "1 batch" : `${running.batches} batches`;
    told.replaceChildren(element("b", {}, `${stage ? `Backward ${stage} of ${STAGES.length - 1}: ` : ""}${STAGES[stage][0]}. `), STAGES[stage][1](r));
    previous.disabled = stage === 0;
    following.disabled = stage === STAGES.length - 1;
    const note = m === 1 ? "One sample is its own mean: x̂ is 0 whatever it is, and PyTorch refuses to train on it."
      : r.variance < 1e-9 ? "All samples are equal: every output is β." : "";
    summary.replaceChildren(
      element("span", { class: "key batch" }, `batch of ${m}: mean ${minus(r.mu, 2)}, variance ${minus(r.variance, 2)}`),
      element("span", { class: "key running" }, `running, after ${many}: mean ${minus(running.mean, 2)}, variance ${minus(running.variance, 2)}`), note);
    body.replaceChildren(...state.x.map((v, i) => element("tr", {}, element("th", { scope: "row" }, i + 1),
      ...[v, r.normalized[i], r.y[i], state.targets[i], r.g[i], r.full[i], r.evaluated[i]].map((value) => element("td", {}, minus(value, 4))))));
  };
  svg.addEventListener("focusin", () => draw());
  svg.addEventListener("focusout", () => draw());
  figure.prepend(live);
  figure.classList.add("is-live");
  let drawnWidth = 0;
  new ResizeObserver(() => { if (svg.clientWidth !== drawnWidth) { drawnWidth = svg.clientWidth; draw(); } }).observe(svg);
  draw();
}
