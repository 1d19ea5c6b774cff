// The view of a time line. All moments are here, so it needs no kernel to be stepped through.

const SECOND = 1000;

// Lead from each place of the slider to its true time, in milliseconds.
function ruler(times) {
  const end = Math.max(...times) || 1;
  const last = Math.max(1, times.length - 1);
  const power = 10 ** Math.floor(Math.log10(end / 4));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= end / 4) * power;
  const lines = times.map((time, place) => `<line x1="${1000 * place / last}" x2="${1000 * time / end}" y2="29"/>`);
  const labels = Array.from({ length: Math.floor(end / step) + 1 }, (_, number) => {
    const time = Number((number * step).toPrecision(6));
    return `<span style="left: ${100 * time / end}%">${time}${time ? "" : " ms"}</span>`;
  });
  return `<svg viewBox="0 0 1000 30" preserveAspectRatio="none">${lines.join("")}</svg><div>${labels.join("")}</div>`;
}

function render({ model, el }) {
  el.classList.add("lk-picture", "lk-timeline");
  el.innerHTML = model.get("html"); // made and escaped in timeline.py
  const moments = [...el.querySelectorAll("ol > li")];
  const last = moments.length - 1;
  if (last < 0) return;
  el.querySelector("ol").insertAdjacentHTML("beforebegin", `
    <div class="lk-controls" data-lm-suppress-shortcuts="true"><button type="button"></button>
    <input type="range" min="0" max="${last}" value="0" aria-label="Moment of the run">
    <div class="lk-ruler" aria-hidden="true">${ruler(moments.map((moment) => Number(moment.dataset.ms)))}</div></div>`);
  const [controls, play, slider] =
    [".lk-controls", "button", "input"].map((name) => el.querySelector(name));
  const leaders = [...el.querySelectorAll("line")];

  // Arrow keys are the slider's here, not the notebook's.
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
    const words = moments[number].querySelector("strong").textContent;
    slider.setAttribute("aria-valuetext", `${number + 1} of ${last + 1}: ${words}`);
    for (const mark of el.querySelectorAll("[data-moment]"))
      mark.classList.toggle("lk-now", mark.dataset.moment === String(number + 1));
    for (const all of [leaders, moments])
      all.forEach((one, place) => one.classList.toggle("lk-now", place === number));
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
  el.addEventListener("click", (event) => {
    const mark = event.target.closest("[data-moment]");
    if (!mark) return;
    running(false);
    show(Number(mark.dataset.moment) - 1);
  });
  running(false);
  show(0);
  return () => running(false);
}

export default { render };
