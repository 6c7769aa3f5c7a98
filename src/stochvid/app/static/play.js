// A world that a model imagines, to act in. The value comes from views.py: { controls, choice, size, uncertain, clips, most }.
// Frames come one at a time from play_calls.py. A line is a list of moments; to act at an earlier one begins another line,
// and the one that was left stays beside it: what if something else had been done there?

const root = element.querySelector(".sv-world");
const world = props.value;
const pad = !world.choice; // else one of the controls is done, as a button is pressed
const PERIOD = 100; // ms from frame to frame while something is held down
const STEPS = 12; // presses from one end of a control to the other
const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [1, -1], ArrowDown: [1, 1] };

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

let given = []; // pictures before the first moment
let line = []; // of moments: { moment, number, action, image, sigma, cells }
let other = []; // the line that was left
let at = 0; // which moment of the line is shown
let target = world.controls.map((control) => control.value);
let clip = 0;
let seed = 0;
let busy = false;
let wanted = null; // an action that waits for the one before it
let held = null; // the timer of what is held down
let replay = null;
let heat = false;
let begun = false;

// ------------------------------------------------------------------------------------------------------ the parts

const side = world.size;
const canvas = () => make("canvas", { width: side * Math.max(1, Math.floor(384 / side)), height: side * Math.max(1, Math.floor(384 / side)) });
const mine = canvas();
const theirs = canvas();
for (const [name, value] of Object.entries({
  tabindex: 0,
  role: "application",
  "aria-label": pad ? "The world. Arrow keys act, space goes on." : "The world. Number keys act, space goes on.",
  class: "sv-pad",
}))
  mine.setAttribute(name, value);
const mineLabel = make("span", { class: "sv-label" }, "This line");
const theirTile = make("div", { class: "sv-tile followed", hidden: true }, theirs, make("span", { class: "sv-label" }, "What was done before"));
const button = (words, act, more = {}) => make("button", { type: "button", class: "sv-button", onclick: act, ...more }, words);
const again = button("Start again", () => begin());
const another = button("Another clip", () => ((clip = (clip + 1) % world.clips), begin()));
const luck = button("Other luck", () => ((seed += 1), begin()), { title: "The same start, other chances" });
const show = button("Show σ", () => ((heat = !heat), show.setAttribute("aria-pressed", heat), draw()), { "aria-pressed": "false" });
const gif = button("GIF", () => download(), { "aria-label": "Download gif" });
const play = make("button", { type: "button", class: "sv-play", "aria-label": "Play", onclick: () => (replay ? halt() : run()) }, "▶");
const range = make("input", { type: "range", min: 0, max: 0, step: 1, class: "sv-range", "aria-label": "Moment" });
const where = make("span", { class: "sv-where" });
const chart = make("div", { class: "sv-chart" });
const caption = make("div", { class: "sv-caption" });
const say = make("p", { class: "sv-say", role: "status" });
const speed = make("span", { class: "sv-speed" });
const hint = pad
  ? "Arrow keys move the cross, and each press imagines the next frame; or point, and hold. Space waits a frame."
  : "Press a button or its number: each press imagines the next frame. Space does the same again.";
const beyond = make("p", { class: "sv-say" }, `${hint} Go back with the slider and do something else: both futures are shown.`);
const acts = make("div", { class: "sv-acts", role: "group", "aria-label": "Actions" });

root.append(
  make("div", { class: "sv-top" }, again, another, luck, world.uncertain ? show : "", make("span", { class: "sv-files" }, "Download", gif)),
  make("div", { class: "sv-pair" }, make("div", { class: "sv-tile future" }, mine, mineLabel), theirTile),
  acts,
  make("div", { class: "sv-time" }, play, make("div", { class: "sv-track" }, range), where),
  make("div", { class: "sv-under" }, caption, chart),
  make("div", { class: "sv-foot" }, beyond, speed, say),
);
if (!world.uncertain) caption.hidden = chart.hidden = true;

if (pad) {
  const rest = world.controls.slice(2).map((control, i) => {
    const slider = make("input", { type: "range", min: control.low, max: control.high, step: (control.high - control.low) / 100 || 1 });
    slider.value = control.value;
    slider.addEventListener("input", () => (target[i + 2] = Number(slider.value)));
    return make("label", { class: "sv-more" }, control.name || `action ${i + 3}`, slider);
  });
  const press = (key, words, label) =>
    make("button", { type: "button", class: "sv-button sv-arrow", "aria-label": label, onclick: () => push(key) }, words);
  const keys = [press("ArrowLeft", "←", "Left"), press("ArrowRight", "→", "Right")];
  if (world.controls.length > 1) keys.splice(1, 0, press("ArrowUp", "↑", "Up"), press("ArrowDown", "↓", "Down"));
  acts.append(...keys, button("Wait", () => act([...target])), ...rest);
} else
  acts.append(...world.controls.map((control, i) => button(`${i + 1}: ${control.name || `action ${i + 1}`}`, () => act(chosen(i)))));

const chosen = (i) => world.controls.map((_, k) => Number(k === i));

// ------------------------------------------------------------------------------------------------------ the server

const ask = async (verb, call) => {
  const answer = await fetch(`play/${verb}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(call) });
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw new Error(told.detail || "That did not work: the server did not answer as it should. Please try again.");
};

const tell = (text, tone = "") => {
  say.textContent = text;
  say.className = `sv-say ${tone}`;
};

const fail = (error) => {
  let words = error.message;
  if (error instanceof TypeError) words = "That did not work: the connection to the server broke. Please try again.";
  tell(words, "error");
  release();
};

const load = async (picture) => {
  const image = new Image();
  image.src = picture;
  await image.decode();
  return image;
};

const begin = async () => {
  halt();
  release();
  try {
    const view = await (await ask("begin", { clip, seed })).json();
    given = await Promise.all(view.given.map(load));
    line = [{ ...view, image: await load(view.picture) }];
    other = [];
    at = 0;
    if (pad) target = [...view.action];
    tell("");
    speed.textContent = "";
    layOut();
    run(-given.length);
  } catch (error) {
    fail(error);
  }
};

// Acts at the moment that is shown. One step at a time: of what is asked for meanwhile, the last counts.
const act = async (action) => {
  if (!line.length) return;
  halt();
  if (busy) return void (wanted = action);
  busy = true;
  const before = performance.now();
  try {
    const view = await (await ask("step", { moment: line[at].moment, action })).json();
    const image = await load(view.picture);
    if (at < line.length - 1) [other, line] = [line, line.slice(0, at + 1)];
    line.push({ ...view, image });
    at = line.length - 1;
    speed.textContent = `${Math.round(performance.now() - before)} ms a frame`;
    tell("");
    layOut();
  } catch (error) {
    wanted = null;
    fail(error);
  }
  busy = false;
  if (wanted) {
    const next = wanted;
    wanted = null;
    act(next);
  }
};

const download = async () => {
  const ends = [line, other].filter((one) => one.length).map((one) => one[one.length - 1].moment);
  try {
    const file = await (await ask("gif", { ends })).blob();
    const link = make("a", { href: URL.createObjectURL(file), download: "play.gif" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
    tell("");
  } catch (error) {
    fail(error);
  }
};

// ---------------------------------------------------------------------------------------------- keys and pointers

const within = (value, control) => Math.max(control.low, Math.min(control.high, value));

const push = (key) => {
  const [axis, way] = ARROWS[key];
  const control = world.controls[axis];
  if (!control) return;
  target[axis] = within(target[axis] + (way * (control.high - control.low)) / STEPS, control);
  act([...target]);
};

mine.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const number = Number(event.key) - 1;
  if (pad && event.key in ARROWS) push(event.key);
  else if (event.key === " ") act(pad ? [...target] : [...line[at].action]);
  else if (!pad && number in world.controls) act(chosen(number));
  else return;
  event.preventDefault();
});

const point = (event) => {
  const box = mine.getBoundingClientRect();
  const shares = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  world.controls.slice(0, 2).forEach((control, i) => {
    target[i] = within(control.low + shares[i] * (control.high - control.low), control);
  });
  draw();
};

const release = () => {
  clearInterval(held);
  held = null;
  wanted = null;
};

if (pad) {
  mine.addEventListener("pointerdown", (event) => {
    mine.setPointerCapture(event.pointerId);
    point(event);
    act([...target]);
    release();
    held = setInterval(() => busy || act([...target]), PERIOD);
  });
  mine.addEventListener("pointermove", (event) => held && point(event));
  for (const kind of ["pointerup", "pointercancel"]) mine.addEventListener(kind, release);
}

range.addEventListener("input", () => {
  halt();
  at = Number(range.value);
  if (pad) target = [...line[at].action];
  draw();
});

// ------------------------------------------------------------------------------------------------- what is shown

const halt = () => {
  clearTimeout(replay);
  replay = null;
  play.textContent = "▶";
  play.setAttribute("aria-label", "Play");
};

// From the first given frame, whose place is below 0, to the end.
const run = (from = -given.length) => {
  const step = (place) => {
    if (!root.isConnected) return;
    at = Math.max(0, place);
    draw(place < 0 ? given[given.length + place] : null);
    if (place >= longest() - 1) return halt();
    replay = setTimeout(() => step(place + 1), PERIOD);
  };
  halt();
  play.textContent = "❚❚";
  play.setAttribute("aria-label", "Pause");
  step(from);
};

const longest = () => line.length;

const paint = (node, image, moment, cross) => {
  const context = node.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, node.width, node.height);
  if (heat && moment && moment.cells) paintHeat(context, moment.cells, node.width);
  if (cross) paintCross(context, node.width);
};

const paintHeat = (context, cells, width) => {
  const every = line.concat(other).flatMap((moment) => (moment.cells || []).flat());
  const [low, high] = [Math.min(...every), Math.max(...every, 1e-9)];
  const size = width / cells.length;
  cells.forEach((row, y) =>
    row.forEach((value, x) => {
      context.fillStyle = `rgba(214, 90, 10, ${(0.75 * (value - low)) / (high - low || 1)})`;
      context.fillRect(x * size, y * size, size, size);
    }),
  );
};

const paintCross = (context, width) => {
  const share = (i) => {
    const control = world.controls[i];
    return control ? (target[i] - control.low) / (control.high - control.low || 1) : 0.5;
  };
  const [x, y] = [share(0) * width, share(1) * width];
  for (const [colour, thick] of [["#ffffff", 6], ["#b4480a", 2]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: thick, lineCap: "round" });
    context.beginPath();
    context.moveTo(x - 12, y);
    context.lineTo(x + 12, y);
    context.moveTo(x, y - 12);
    context.lineTo(x, y + 12);
    context.stroke();
  }
};

const draw = (early = null) => {
  if (!line.length) return;
  const moment = line[at];
  paint(mine, early || moment.image, early ? null : moment, pad && !replay);
  theirTile.hidden = !other.length;
  if (other.length) {
    const there = other[Math.min(at, other.length - 1)];
    paint(theirs, early || there.image, early ? null : there, false);
    theirTile.classList.toggle("over", at >= other.length);
  }
  range.value = at;
  const phase = early || at === 0 ? "given" : "imagined";
  where.replaceChildren(make("b", {}, moment.number), " ", make("span", { class: `sv-phase ${phase}` }, phase));
  range.setAttribute("aria-valuetext", `frame ${moment.number} ${phase}`);
  const sigma = (one) => (one && one.sigma !== undefined ? one.sigma.toPrecision(3) : "–");
  const values = [make("span", {}, `σ ${sigma(moment)}`)];
  if (other.length) values.push(make("span", {}, `before ${sigma(other[at])}`));
  caption.replaceChildren(make("span", {}, "Uncertainty: σ of the prior"), make("span", { class: "sv-values" }, ...values));
  const cursor = chart.querySelector(".now");
  if (cursor) cursor.setAttribute("transform", `translate(${place(at)} 0)`);
};

const place = (i) => ((i + 0.5) / Math.max(line.length, other.length, 20)) * (chart.clientWidth || 1);

const layOut = () => {
  range.max = line.length - 1;
  root.style.setProperty("--total", line.length);
  const [width, height] = [chart.clientWidth || 1, 96];
  const every = [...line, ...other].map((moment) => moment.sigma).filter((value) => value !== undefined);
  const top = Math.max(...every, 1e-9) * 1.1;
  const points = (moments) =>
    moments.map((moment, i) => (moment.sigma === undefined ? "" : `${place(i).toFixed(1)},${(height - (moment.sigma / top) * (height - 6)).toFixed(1)}`)).join(" ");
  chart.innerHTML =
    `<svg width="${width}" height="${height}" aria-hidden="true"><polyline class="left" points="${points(other)}"/>` +
    `<polyline class="chosen" points="${points(line)}"/><line class="now" x1="0" x2="0" y1="0" y2="${height}"/></svg>`;
  draw();
};

// Nothing is asked for before the tab is looked at.
new ResizeObserver(() => {
  if (!root.clientWidth) return;
  if (!begun) {
    begun = true;
    begin();
  } else if (line.length) layOut();
}).observe(root);
