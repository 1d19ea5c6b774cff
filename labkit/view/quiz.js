// One question. The page keeps the guess and compares it with the answer; see quiz.py.

const HINT = "Choose, then run the experiment below.";

function render({ model, el }) {
  const choices = model.get("choices");
  const group = `quiz-${Math.random()}`; // one for each view, or they would uncheck each other
  const answered = () => model.get("right") !== null;

  const box = add(el, "fieldset", "lk-quiz");
  const legend = add(box, "legend", "", `Guess: ${model.get("question")}`);
  legend.innerHTML = legend.innerHTML.replace("Guess:", "<strong>$&</strong>").replace(/`([^`]+)`/g, "<code>$1</code>");
  const rows = choices.map((choice, number) => {
    const label = add(box, "label");
    const input = add(label, "input");
    Object.assign(input, { type: "radio", name: group, value: number });
    const words = add(label, "span");
    add(words, "span", "lk-choice", choice);
    words.append(" ");
    return { label, input, mark: add(words, "span", "lk-mark") };
  });
  const state = add(box, "p", "lk-state", HINT);
  state.setAttribute("role", "status"); // a live region: what it says later is read aloud

  function paint() {
    const [guess, right] = [model.get("guess"), model.get("right")];
    rows.forEach(({ label, input, mark }, number) => {
      input.checked = number === guess;
      // Not `disabled`: that takes the focus away, and a keyboard could not read it again.
      input.setAttribute("aria-disabled", answered());
      label.classList.toggle("lk-right", number === right);
      const marks = [number === right && "✓ the kernel’s answer", number === guess && "your guess"];
      mark.textContent = answered() ? marks.filter(Boolean).join(", ") : "";
    });
    box.classList.toggle("lk-answered", answered());
    if (!answered()) return;
    const yours = guess === null ? "You had not guessed yet" : `You guessed ${choices[guess]}`;
    state.textContent = guess === right ? `${yours}, and so it is.` : `${yours}. It is ${choices[right]}.`;
  }

  function probe() {
    try {
      model.send({}); // JupyterLab refuses when the kernel has ended or was started anew
    } catch {
      if (!answered()) state.textContent = "The kernel has ended. Run this cell again to guess.";
    }
  }

  box.addEventListener("click", (event) => {
    if (answered()) event.preventDefault(); // arrow keys and Space click, too
  });
  box.addEventListener("change", (event) => {
    if (answered()) return paint();
    model.set("guess", Number(event.target.value));
    model.save_changes(); // says nothing when nobody hears it
    probe();
  });

  // Keys in here are the radio buttons', not JupyterLab's: Shift+Enter would run this cell again
  // and forget the guess. It goes on to the next cell, as it does elsewhere; Escape goes back.
  box.dataset.lmSuppressShortcuts = "true";
  box.addEventListener("keydown", (event) => {
    if (event.key === "Tab") return;
    event.stopPropagation();
    const cell = el.closest(".jp-Cell");
    const next = event.key === "Enter" && event.shiftKey && cell?.nextElementSibling;
    const target = event.key === "Escape" ? cell : next;
    if (!target) return;
    event.preventDefault();
    target.focus();
  });

  model.on("change:guess change:right", paint);
  model.on("comm_live_update", probe); // the kernel starts anew, or the page has found it again
  paint();
}

function add(parent, tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.textContent = text;
  return parent.appendChild(element);
}

export default { render };
