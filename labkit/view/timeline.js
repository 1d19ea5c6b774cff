// The view of a time line. All moments are here, so it needs no kernel to be stepped through.

const SECOND = 1000;

function render({ model, el }) {
  const frames = model.get("frames");
  const last = frames.length - 1;

  el.classList.add("lk-timeline");
  const picture = add(el, "div");
  picture.innerHTML = model.get("picture"); // drawn and escaped by labkit.view.drawing
  if (last < 0) return;

  const controls = add(el, "div", "lk-controls");
  const play = add(controls, "button", "lk-play");
  play.type = "button";
  const slider = add(controls, "input", "lk-slider");
  Object.assign(slider, { type: "range", min: 0, max: last, step: 1, value: 0 });
  slider.setAttribute("aria-label", "Moment of the run");
  const leaders = ruler(add(controls, "div", "lk-ruler"), frames.map((frame) => frame.ms));
  const detail = add(el, "div", "lk-detail");
  const deepest = Math.max(...frames.map((frame) => frame.tree.length));

  // Arrow keys are the slider's here, not the notebook's.
  controls.dataset.lmSuppressShortcuts = "true";
  controls.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" && event.key !== "Tab") event.stopPropagation();
  });

  let timer = 0;
  function running(on) {
    clearInterval(timer);
    timer = on ? setInterval(next, SECOND) : 0;
    play.textContent = on ? "❚❚" : "▶";
    play.title = on ? "Pause" : "Play, one moment a second";
    play.setAttribute("aria-label", play.title);
  }
  function next() {
    show(Number(slider.value) + 1);
    if (Number(slider.value) === last) running(false);
  }
  function show(number) {
    slider.value = number;
    const frame = frames[number];
    slider.setAttribute("aria-valuetext", `${number + 1} of ${last + 1}: ${frame.sentence}`);
    for (const mark of picture.querySelectorAll("[data-moment]"))
      mark.classList.toggle("lk-now", mark.dataset.moment === String(number + 1));
    leaders.forEach((leader, place) => leader.classList.toggle("lk-now", place === number));
    tell(detail, frame, `${number + 1} of ${last + 1}`, deepest);
  }

  slider.addEventListener("input", () => {
    running(false);
    show(Number(slider.value));
  });
  play.addEventListener("click", () => {
    if (timer) return running(false);
    if (Number(slider.value) === last) show(0);
    running(true);
  });
  picture.addEventListener("click", (event) => {
    const mark = event.target.closest("[data-moment]");
    if (!mark) return;
    running(false);
    show(Number(mark.dataset.moment) - 1);
  });
  running(false);
  show(0);
  return () => running(false);
}

// From each place of the slider a line to its true time on a ruler in milliseconds.
function ruler(box, times) {
  const end = Math.max(...times);
  const lines = svg(box, "svg", { viewBox: "0 0 1000 30", preserveAspectRatio: "none" });
  lines.setAttribute("aria-hidden", "true");
  const at = (ms) => (end ? (1000 * ms) / end : 0);
  svg(lines, "line", { x1: 0, y1: 29, x2: 1000, y2: 29 });
  const leaders = times.map((ms, place) =>
    svg(lines, "line", { x1: (1000 * place) / Math.max(1, times.length - 1), y1: 0, x2: at(ms), y2: 29 }),
  );
  const scale = add(box, "div", "lk-scale");
  scale.setAttribute("aria-hidden", "true");
  const rough = end / 4 || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  for (let ms = 0; ms <= end; ms += step) {
    const label = add(scale, "span", "", `${Number(ms.toPrecision(6))}`);
    label.style.left = `${at(ms) / 10}%`;
  }
  scale.lastChild.textContent += " ms";
  return leaders;
}

// What happens at a moment, and the processes that there are.
function tell(box, frame, place, deepest) {
  box.replaceChildren();
  add(box, "div", "lk-place", `${place} · after ${frame.ms.toFixed(1)} ms · step ${frame.step}`);
  add(box, "div", "lk-sentence", frame.sentence);
  add(box, "div", "lk-log", frame.log || "\u00a0");
  const table = add(box, "table");
  const head = add(add(table, "thead"), "tr");
  for (const name of ["process", "PID in the lab", "PID inside", "command line"])
    add(head, "th", "", name).scope = "col";
  const rows = add(table, "tbody");
  for (const process of frame.tree) {
    const row = add(rows, "tr", process.calls ? "lk-calls" : "");
    const name = add(row, "td", "", `${process.depth ? "└ " : ""}${process.name}`);
    name.style.paddingLeft = `${6 + 14 * Math.max(0, process.depth - 1)}px`;
    add(row, "td", "", process.here);
    add(row, "td", "", process.inside || "–");
    add(row, "td", "", process.command);
  }
  for (let count = frame.tree.length; count < deepest; count += 1) // so that nothing jumps
    add(add(rows, "tr"), "td", "", "\u00a0");
}

function add(parent, tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.textContent = text;
  return parent.appendChild(element);
}

function svg(parent, tag, attributes) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return parent.appendChild(element);
}

export default { render };
