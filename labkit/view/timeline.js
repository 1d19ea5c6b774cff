// The view of a time line. All moments are here, so it needs no kernel to be stepped through.

const SECOND = 1000;

function render({ model, el }) {
  const frames = model.get("frames");
  const last = frames.length - 1;
  el.classList.add("lk-picture", "lk-timeline");
  el.innerHTML = model.get("lanes"); // made and escaped in timeline.py, as all HTML here
  if (last < 0) return;
  el.insertAdjacentHTML("beforeend", `
    <div class="lk-controls" data-lm-suppress-shortcuts="true"><button type="button"></button>
    <input type="range" min="0" max="${last}" value="0" aria-label="Moment of the run">
    <div class="lk-ruler" aria-hidden="true">${model.get("ruler")}</div></div>
    <div class="lk-detail"></div>`);
  const [controls, play, slider, detail] =
    [".lk-controls", "button", "input", ".lk-detail"].map((name) => el.querySelector(name));
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
    slider.setAttribute("aria-valuetext", frames[number].sentence);
    for (const mark of el.querySelectorAll("[data-moment]"))
      mark.classList.toggle("lk-now", mark.dataset.moment === String(number + 1));
    leaders.forEach((leader, place) => leader.classList.toggle("lk-now", place === number));
    detail.innerHTML = frames[number].html;
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
