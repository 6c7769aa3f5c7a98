// A box to draw a digit in. The value is a list of lines, each a list of points [x, y] in 0 … 1: no picture is sent.

const root = element.querySelector(".sv-sketch");
const size = 280;
const canvas = document.createElement("canvas");
canvas.width = canvas.height = size;
canvas.setAttribute("role", "img");
canvas.setAttribute("aria-label", "Box to draw a digit in, with a pen, a mouse or a finger");
const clear = document.createElement("button");
clear.type = "button";
clear.className = "sv-button";
clear.textContent = "Clear";
const hint = document.createElement("span");
hint.textContent = "Draw one digit. It moves as those of training do.";
const beside = document.createElement("div");
beside.className = "sv-beside";
beside.append(hint, clear);
root.append(canvas, beside);

let lines = [];
let drawing = false;

const draw = () => {
  const context = canvas.getContext("2d");
  context.clearRect(0, 0, size, size);
  Object.assign(context, { lineWidth: 22, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  for (const line of lines) {
    context.beginPath();
    line.forEach(([x, y], i) => (i ? context.lineTo(x * size, y * size) : context.moveTo(x * size, y * size)));
    if (line.length === 1) context.lineTo(line[0][0] * size + 0.1, line[0][1] * size);
    context.stroke();
  }
};

const point = (event) => {
  const box = canvas.getBoundingClientRect();
  const within = (value) => Math.round(Math.max(0, Math.min(1, value)) * 1000) / 1000;
  return [within((event.clientX - box.left) / box.width), within((event.clientY - box.top) / box.height)];
};

canvas.addEventListener("pointerdown", (event) => {
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  drawing = true;
  lines.push([point(event)]);
  draw();
});
canvas.addEventListener("pointermove", (event) => {
  if (!drawing) return;
  lines[lines.length - 1].push(point(event));
  draw();
});
for (const kind of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(kind, () => {
    if (!drawing) return;
    drawing = false;
    props.value = lines.map((line) => [...line]);
  });
}
clear.addEventListener("click", () => {
  lines = [];
  draw();
  props.value = [];
});
draw();
