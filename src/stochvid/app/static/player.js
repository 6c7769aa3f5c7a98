// Futures side by side on canvases, one scrubber, and what the model says of every frame on the same axis of time.
// gradio runs this once for each player, with `element`, `props`, `trigger` and `watch`. No library is used.
// The value comes from views.py: { mode, picture, columns, width, height, known, total, tracks, curve, latents, … }.

const root = element.querySelector(".sv-player");
const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
const seen = { view: null, image: null, heats: [], heat: null, frame: 1, selected: 0, playing: false, timer: 0 };

const make = (tag, options = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
};

// ------------------------------------------------------------------------------------------------- the parts, once

const path = make("nav", { class: "sv-path", "aria-label": "Futures that are followed" });
const branch = make("button", { type: "button", class: "sv-button strong", onclick: () => ask("branch", { sample: seen.selected, frame: parting() }) });
const files = make("span", { class: "sv-files" });
const heats = make("span", { class: "sv-heats", role: "group", "aria-label": "Laid over the frames" });
const grid = make("div", { class: "sv-grid", role: "group", "aria-label": `${root.dataset.label} side by side` });
const play = make("button", { type: "button", class: "sv-play", onclick: () => setPlaying(!seen.playing) });
const range = make("input", { type: "range", min: 1, step: 1, class: "sv-range", "aria-label": "Frame" });
const where = make("span", { class: "sv-where" });
const upper = make("div", { class: "sv-chart" });
const lower = make("div", { class: "sv-chart sv-lower" });
const cursor = make("div", { class: "sv-cursor", "aria-hidden": "true" });
const between = make("div", { class: "sv-caption sv-between" });
const plots = make("div", { class: "sv-plots" }, upper, between, lower, cursor);
const axis = make("div", { class: "sv-axis", "aria-hidden": "true" });
const above = make("div", { class: "sv-caption" });
const peaks = make("div", { class: "sv-peaks" });
const legend = make("ul", { class: "sv-legend" });
const empty = make("p", { class: "sv-empty" }, "Nothing to see yet. Choose a clip on this page, and start.");
const body = make(
  "div",
  { class: "sv-body" },
  make("div", { class: "sv-top" }, path, branch, heats, files),
  grid,
  make("div", { class: "sv-time" }, play, make("div", { class: "sv-track" }, range), where),
  make("div", { class: "sv-under" }, above, plots, axis, peaks),
  legend,
);
root.setAttribute("role", "region");
root.setAttribute("aria-label", `${root.dataset.label} player: space plays, arrow keys step`);
root.append(empty, body);

range.addEventListener("input", () => {
  setPlaying(false);
  setFrame(Number(range.value));
});

for (const kind of ["pointerdown", "pointermove"]) {
  plots.addEventListener(kind, (event) => {
    if (!seen.view || (kind === "pointermove" && !event.buttons)) return;
    const box = plots.getBoundingClientRect();
    setPlaying(false);
    setFrame(Math.floor(((event.clientX - box.left) / box.width) * seen.view.total) + 1);
  });
}

root.addEventListener("keydown", (event) => {
  if (!seen.view || event.ctrlKey || event.metaKey || event.altKey) return;
  const tile = event.target.closest(".sv-tile");
  const steps = { ArrowLeft: -1, ArrowRight: 1 };
  if (event.key === " " && (tile || event.target === range)) setPlaying(!seen.playing);
  else if (event.key in steps) (setPlaying(false), setFrame(seen.frame + steps[event.key]));
  else if (event.key === "Home") (setPlaying(false), setFrame(1));
  else if (event.key === "End") (setPlaying(false), setFrame(seen.view.total));
  else return;
  event.preventDefault();
});
root.addEventListener("keyup", (event) => {
  if (event.key === " " && event.target.closest(".sv-tile")) event.preventDefault(); // it is Enter that selects
});

// -------------------------------------------------------------------------------------------------- what is shown

const show = async (view) => {
  if (!view) return;
  const load = async (picture) => {
    const image = new Image();
    image.src = picture;
    await image.decode();
    return image;
  };
  const [image, ...layers] = await Promise.all([view.picture, ...view.heats.map((heat) => heat.picture)].map(load));
  const before = seen.view;
  Object.assign(seen, { view, image, heats: layers });
  root.classList.add("full");
  root.style.setProperty("--total", view.total);
  range.max = view.total;
  const futures = view.tracks.filter((track) => track.sample !== undefined);
  if (!before || seen.selected >= futures.length || view.path.length !== before.path.length) seen.selected = 0;
  buildPath();
  buildTiles();
  buildFiles();
  buildHeats();
  buildPeaks();
  buildLegend();
  layOut();
  const start = view.path.length ? Math.min(view.shared, view.total) : calm ? Math.min(view.known + 1, view.total) : 1;
  setFrame(before && before.total === view.total && !view.path.length ? seen.frame : start);
  setPlaying(!calm);
  if (before && window.innerWidth < 760) root.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
};

const buildPath = () => {
  const { view } = seen;
  path.replaceChildren();
  if (!view.path.length) return path.append(make("span", { class: "sv-title" }, view.title));
  path.append(make("button", { type: "button", class: "sv-link", onclick: () => ask("back", { level: 0 }) }, "All futures"));
  view.path.forEach((step, i) => {
    const words = `future ${step.future} to frame ${step.frame}`;
    const last = i === view.path.length - 1;
    const go = () => ask("back", { level: i + 1 });
    path.append(make("span", { "aria-hidden": "true" }, "›"));
    path.append(last ? make("span", {}, words) : make("button", { type: "button", class: "sv-link", onclick: go }, words));
  });
};

const buildTiles = () => {
  const { view } = seen;
  const tiles = view.tracks.map((track) => {
    const canvas = make("canvas", { width: view.width, height: view.height, "aria-hidden": "true" });
    const label = make("span", { class: "sv-label" }, track.label);
    if (track.sample === undefined) return make("div", { class: `sv-tile ${track.tone}` }, canvas, label);
    const select = () => setSelected(track.sample);
    return make("button", { type: "button", class: `sv-tile ${track.tone}`, onclick: select }, canvas, label);
  });
  grid.replaceChildren(...tiles);
};

const buildFiles = () => {
  const kinds = seen.view.mode === "futures" ? ["gif", "mp4", "npz"] : ["csv"];
  const button = (kind) =>
    make(
      "button",
      { type: "button", class: "sv-button", onclick: () => ask("download", { kind }), "aria-label": `Download ${kind}` },
      kind.toUpperCase(),
    );
  files.replaceChildren("Download", ...kinds.map(button));
};

// one may be on at a time; it stays on for what is drawn next, where that has it, too
const buildHeats = () => {
  const labels = seen.view.heats.map((heat) => heat.label);
  if (!labels.includes(seen.heat)) seen.heat = null;
  const toggle = (label) => () => {
    seen.heat = seen.heat === label ? null : label;
    for (const button of heats.children) button.setAttribute("aria-pressed", button.textContent === seen.heat);
    drawTiles();
  };
  heats.replaceChildren(
    ...labels.map((label) =>
      make("button", { type: "button", class: "sv-button", onclick: toggle(label), "aria-pressed": String(label === seen.heat) }, label),
    ),
  );
};

const drawHeat = (context, tone) => {
  const { view, frame } = seen;
  const i = view.heats.findIndex((heat) => heat.label === seen.heat);
  if (i < 0 || view.heats[i].tone !== tone) return;
  const { width, height, from, count, columns } = view.heats[i];
  const at = frame - from;
  if (at < 0 || at >= count) return;
  context.imageSmoothingEnabled = false;
  const [x, y] = [(at % columns) * width, Math.floor(at / columns) * height];
  context.drawImage(seen.heats[i], x, y, width, height, 0, 0, view.width, view.height);
};

const buildPeaks = () => {
  const found = (seen.view.curve && seen.view.curve.peaks) || [];
  const jump = (frame) => () => (setPlaying(false), setFrame(frame));
  const button = (frame) =>
    make("button", { type: "button", class: "sv-button", onclick: jump(frame), "aria-label": `Jump to frame ${frame}` }, frame);
  peaks.replaceChildren(...(found.length ? ["Outstanding frames", ...found.slice(0, 24).map(button)] : []));
};

const buildLegend = () => {
  const { view } = seen;
  const futures = view.mode === "futures";
  const entries = [
    ["given", "given frames", view.known > 0],
    ["followed", "followed", view.shared > view.known],
    ["chosen", futures ? "the selected future" : "each frame", true],
    ["mean", "mean of all", futures && view.curve],
    ["band", "range of all", futures && view.curve],
    ["mark", view.curve && view.curve.marked, view.curve && view.curve.marks.length],
    ["peak", "outstanding", !futures && view.curve.peaks.length],
  ];
  const shown = entries.filter((entry) => entry[2]);
  legend.replaceChildren(...shown.map(([tone, words]) => make("li", {}, make("i", { class: tone }), words)));
};

// ------------------------------------------------------------------------------------------------- frame by frame

const setFrame = (frame) => {
  seen.frame = Math.max(1, Math.min(seen.view.total, frame));
  range.value = seen.frame;
  cursor.style.transform = `translateX(${((seen.frame - 0.5) / seen.view.total) * 100}%)`; // it is as wide as the plots
  drawTiles();
  tell();
};

const setSelected = (sample) => {
  seen.selected = sample;
  drawCharts();
  drawTiles();
  tell();
};

const setPlaying = (playing) => {
  clearTimeout(seen.timer);
  seen.playing = playing && Boolean(seen.view);
  play.textContent = seen.playing ? "❚❚" : "▶";
  play.setAttribute("aria-label", seen.playing ? "Pause" : "Play");
  if (seen.view) tell();
  if (!seen.playing) return;
  const period = 1000 / seen.view.fps;
  const step = () => {
    if (!root.isConnected) return;
    const last = seen.frame === seen.view.total;
    if (root.offsetParent) setFrame(last ? 1 : seen.frame + 1); // not while its tab is hidden
    seen.timer = setTimeout(step, seen.frame === seen.view.total ? period + 900 : period);
  };
  seen.timer = setTimeout(step, period);
};

const drawTiles = () => {
  const { view, image, frame } = seen;
  [...grid.children].forEach((tile, i) => {
    const track = view.tracks[i];
    const context = tile.firstChild.getContext("2d");
    const place = track.frames[frame - 1];
    context.clearRect(0, 0, view.width, view.height);
    tile.classList.toggle("given", frame <= view.known);
    tile.classList.toggle("followed", track.tone === "future" && frame > view.known && frame <= view.shared);
    tile.classList.toggle("over", place === undefined);
    if (track.sample !== undefined) tile.setAttribute("aria-pressed", track.sample === seen.selected);
    if (place === undefined) return;
    const [x, y] = [(place % view.columns) * view.width, Math.floor(place / view.columns) * view.height];
    context.drawImage(image, x, y, view.width, view.height, 0, 0, view.width, view.height);
    drawHeat(context, track.tone);
  });
};

const phase = () => {
  const { view, frame } = seen;
  if (view.mode === "surprise") return "";
  return frame <= view.known ? "given" : frame <= view.shared ? "followed" : "predicted";
};

const parting = () => Math.min(Math.max(seen.frame, seen.view.known), seen.view.total - 1);

const tell = () => {
  const { view, frame, selected } = seen;
  const what = phase();
  where.replaceChildren(make("b", {}, frame), ` of ${view.total} `, make("span", { class: `sv-phase ${what}` }, what));
  range.setAttribute("aria-valuetext", `frame ${frame} of ${view.total} ${what}`);
  const at = view.curve ? frame - view.curve.from : -1;
  const number = (values) => (at >= 0 && values && at < values.length ? values[at].toPrecision(3) : "–");
  if (view.mode === "surprise") {
    caption(above, "Surprise, in nats: what the frame told that its past did not", [`${number(view.curve.mean)} nats`]);
    caption(between, "What even the model's best explanation leaves: mean squared error", [number(view.error.mean)]);
    branch.hidden = true;
    return;
  }
  branch.hidden = !view.latents;
  // what is pressed while it plays must not change under the pointer
  branch.disabled = !seen.playing && (frame < view.known || frame >= view.total);
  branch.textContent = `More like future ${selected + 1} after ${seen.playing ? "this frame" : `frame ${parting()}`}`;
  if (!view.curve) {
    caption(above, "This model has no latents: its future is one, and it does not say how sure it is.", []);
    return caption(between, "", []);
  }
  const lines = view.curve.lines[selected];
  caption(above, "Uncertainty: σ of the prior", [`future ${selected + 1}: ${number(lines)}`, `mean of all: ${number(view.curve.mean)}`]);
  caption(between, `Latents z of future ${selected + 1}: a row for each dimension`, ["−3", "scale", "+3"]);
};

const caption = (node, words, values) => {
  const parts = values.map((value) => (value === "scale" ? make("i", { class: "sv-scale" }) : make("span", {}, value)));
  node.replaceChildren(make("span", {}, words), make("span", { class: "sv-values" }, ...parts));
};

const ask = (name, data) =>
  window.stochvid.ask(() => {
    setPlaying(false);
    trigger(name, { ...data, view: seen.view.id }); // "branch", "back" or "download"
  });

// -------------------------------------------------------------------------------------------------------- charts

const layOut = () => {
  const { view } = seen;
  if (!view || !root.clientWidth) return;
  const count = view.tracks.length;
  const narrow = root.clientWidth < 560;
  const rows = narrow ? Math.ceil(count / (count > 4 ? 3 : 2)) : count <= 5 ? 1 : count <= 12 ? 2 : 3;
  root.style.setProperty("--columns", Math.ceil(count / rows));
  root.style.setProperty("--side", `${narrow ? 220 : count <= 2 ? 300 : count <= 5 ? 220 : rows === 2 ? 146 : 112}px`);
  drawCharts();
};

const drawCharts = () => {
  const { view } = seen;
  const width = plots.clientWidth;
  if (!view || !width) return;
  upper.replaceChildren();
  lower.replaceChildren();
  plots.hidden = axis.hidden = legend.hidden = !view.curve; // there is nothing to plot
  if (view.curve) upper.innerHTML = lineChart(width, 132, view.curve);
  if (view.error) lower.innerHTML = lineChart(width, 72, { ...view.error, lines: [] });
  if (view.latents) lower.append(heatMap(width, 72));
  const every = [1, 2, 5, 10, 20, 50, 100].find((step) => (width / view.total) * step >= 34) || 200;
  const ticks = [...Array(view.total).keys()].map((t) => t + 1).filter((t) => t === 1 || (t % every === 0 && (width / view.total) * (t - 1) >= 30));
  const left = (t) => `left:${((t - 0.5) / view.total) * 100}%`;
  axis.replaceChildren(...ticks.map((t) => make("span", { style: left(t) }, t)));
};

const lineChart = (width, height, curve) => {
  const { view, selected } = seen;
  const every = curve.lines.length ? curve.lines.flat() : curve.mean;
  const top = Math.max(...every, 1e-9) * 1.1;
  const x = (t) => (((t - 0.5) / view.total) * width).toFixed(1);
  const y = (value) => (height - 1 - (value / top) * (height - 6)).toFixed(1);
  const line = (values) => values.map((value, i) => `${x(curve.from + i)},${y(value)}`).join(" ");
  const edge = (frames) => ((frames / view.total) * width).toFixed(1);
  const step = [1, 2, 5].flatMap((n) => [-5, -4, -3, -2, -1, 0, 1, 2, 3].map((e) => n * 10 ** e)).sort((a, b) => a - b).find((s) => top / s <= 3.2);
  const grid = [];
  for (let value = step; value < top * 0.97; value += step) {
    grid.push(`<line class="grid" x1="0" x2="${width}" y1="${y(value)}" y2="${y(value)}"/>`);
    grid.push(`<text class="tick" x="4" y="${(y(value) - 3).toFixed(1)}">${Number(value.toPrecision(2))}</text>`);
  }
  const parts = [`<rect class="given" x="0" y="0" width="${edge(view.known)}" height="${height}"/>`];
  if (view.shared > view.known)
    parts.push(`<rect class="followed" x="${edge(view.known)}" y="0" width="${edge(view.shared - view.known)}" height="${height}"/>`);
  parts.push(...grid);
  for (const t of curve.marks || []) parts.push(`<line class="mark" x1="${x(t)}" x2="${x(t)}" y1="0" y2="${height}"/>`);
  if (curve.lines.length) {
    const columns = curve.mean.map((_, i) => curve.lines.map((values) => values[i]));
    const low = line(columns.map((column) => Math.min(...column)));
    const high = line(columns.map((column) => Math.max(...column))).split(" ").reverse().join(" ");
    parts.push(`<polygon class="band" points="${low} ${high}"/>`);
    curve.lines.forEach((values) => parts.push(`<polyline class="each" points="${line(values)}"/>`));
    parts.push(`<polyline class="mean" points="${line(curve.mean)}"/>`);
    parts.push(`<polyline class="chosen" points="${line(curve.lines[selected])}"/>`);
  } else parts.push(`<polyline class="chosen" points="${line(curve.mean)}"/>`);
  for (const t of curve.peaks || []) parts.push(`<circle class="peak" cx="${x(t)}" cy="${y(curve.mean[t - curve.from])}" r="4"/>`);
  return `<svg width="${width}" height="${height}" aria-hidden="true">${parts.join("")}</svg>`;
};

const heatMap = (width, height) => {
  const { view, selected } = seen;
  const z = view.latents.z[selected];
  const canvas = make("canvas", { width: view.total, height: z[0].length, style: `height:${height}px`, "aria-hidden": "true" });
  const context = canvas.getContext("2d");
  z.forEach((column, i) =>
    column.forEach((value, row) => {
      const strength = Math.min(Math.abs(value) / 3, 1);
      context.fillStyle = value < 0 ? `rgba(70, 140, 235, ${strength})` : `rgba(240, 130, 40, ${strength})`;
      context.fillRect(view.latents.from - 1 + i, row, 1, 1);
    }),
  );
  return canvas;
};

new ResizeObserver(layOut).observe(root);
root.classList.toggle("none", !props.value);
setPlaying(false);
show(props.value);
watch("value", () => show(props.value));
