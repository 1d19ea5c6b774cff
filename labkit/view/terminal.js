// A terminal in a page. The shell lives in the notebook's kernel; see terminal.py for the messages.

const ALOUD = "labkit-terminal-aloud"; // where a browser remembers who wants the screen read
const FRAME = `<div class="labkit-terminal-frame" role="group" aria-label="Terminal">
  <div class="labkit-terminal-screen" data-lm-suppress-shortcuts="true"></div>
  <div class="labkit-terminal-bar">
    <span><kbd>Esc</kbd> <kbd>Tab</kbd> leaves the terminal</span><span role="status"></span>
    <label><input type="checkbox"> for a screen reader</label>
  </div></div>`;

// xterm.js as JupyterLab's own terminals have it. Its package of terminals is one of those that
// JupyterLab's program shares with extensions, such as the one that runs this module.
async function library() {
  const chunks = globalThis[Object.keys(globalThis).find((name) => /packChunk.*anywidget/.test(name))];
  let program;
  chunks.push([[Symbol("labkit")], {}, (require) => { program = require; }]);
  const [shared] = Object.values(program.S.default["@jupyterlab/terminal"]);
  const { Terminal } = (await shared.get())();
  const never = { connect() {}, disconnect() {} };
  const one = new Terminal({ messageReceived: never, connectionStatusChanged: never, disposed: never });
  await one.ready;
  one.dispose();
  return { Xterm: one._term.constructor, Fit: one._fitAddon.constructor };
}

// For a page that has no xterm.js: what was printed as text, and a line to type into. It has as much
// of xterm.js's and its FitAddon's interface as is used here. A program that draws all over the screen
// is shown line by line.
const MAX_LINES = 500;

class Lines {
  options = {};
  decoder = new TextDecoder();

  open(place) {
    place.innerHTML = `<pre role="log" tabindex="0" aria-label="Terminal output"></pre>
      <form><label>Type a line, then Enter: <input autocomplete="off" autocapitalize="off" spellcheck="false"></label>
      <button type="button">Ctrl-C</button><button type="button">Ctrl-D</button></form>`;
    [this.log, this.form] = place.children;
    const [says, , aloud] = place.nextElementSibling.children;
    says.textContent = "A line at a time: the full terminal is in JupyterLab.";
    aloud.remove();
  }

  onData(send) {
    const [line, ctrlC, ctrlD] = this.form;
    const type = (text) => {
      line.focus();
      line.value = "";
      send(text);
    };
    this.form.onsubmit = () => { type(`${line.value}\r`); return false; };
    ctrlC.onclick = () => type("\x03");
    ctrlD.onclick = () => type(`${line.value}\x04`);
    line.onkeydown = ({ ctrlKey, key }) => {
      const button = { c: ctrlC, d: ctrlD }[key];
      if (!ctrlKey || !button || line.selectionStart < line.selectionEnd) return; // it copies
      button.click();
      return false;
    };
  }

  reset() {
    this.log.replaceChildren("");
    this.raw = ""; // what was printed since the last line began
  }

  write(data, then) {
    const parts = (this.raw + this.decoder.decode(data, { stream: true })).split(/\x1b\[(?:[23]J|H\x1b\[J)/);
    if (parts.length > 1) this.reset(); // the screen was cleared
    const lines = parts.at(-1).split(/\n|\x1b\[[\d;]*[Hd]/).slice(-MAX_LINES);
    this.raw = lines.at(-1).slice(-20000);
    const [first, ...more] = lines.map((line) => `${this.shown(line)}\n`);
    this.log.lastChild.data = first;
    this.log.append(...more);
    while (this.log.childNodes.length > MAX_LINES) this.log.firstChild.remove();
    this.form[0].type = /pass(word|phrase)[^:]*: *\n$/i.test(this.log.lastChild.data) ? "password" : "text";
    then();
  }

  // A line as it looks when each return to its start, or to that of its last row, was written over.
  shown(raw) {
    return raw.split("\r").reduce((line, part) => {
      const text = part.replace(NO_TEXT, "");
      const row = line.length - 1 - (line.length - 1) % this.columns;
      const rest = /\x1b\[2?[JK]/.test(part) ? "" : line.slice(row + text.length);
      return line.slice(0, row) + text + rest;
    }, "");
  }

  resize(columns) { this.columns = columns; }
  proposeDimensions() { return { rows: 24, cols: 80 }; }
  onBinary() {}
  attachCustomKeyEventHandler() {}
  loadAddon() {}
  dispose() {}
}

// What steers a terminal, what a backspace takes back, and other control characters.
const NO_TEXT = /\x1b\][^\x00-\x1f]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]|[^\b]?[\b]|[\x00-\x08\x0b-\x1f\x7f]/g;

async function render({ model, el }) {
  const view = `${Math.random()}`;
  el.classList.add("labkit-terminal");
  el.innerHTML = FRAME;
  const [frame, place, state, aloud] =
    [".labkit-terminal-frame", ".labkit-terminal-screen", "[role=status]", "input"].map((name) => el.querySelector(name));
  const { Xterm, Fit } = await library().catch(() => ({ Xterm: Lines, Fit: Lines }));

  // JupyterLab's colours, so that the terminal follows its theme. xterm.js itself sees to it that
  // whatever colour a program chooses stands out from the background.
  const colours = () => {
    const { color: ink, backgroundColor: paper } = getComputedStyle(place);
    const selectionBackground = "rgba(80, 150, 255, 0.4)";
    return {
      theme: { foreground: ink, background: paper, cursor: ink, cursorAccent: paper, selectionBackground },
      minimumContrastRatio: /high contrast/i.test(document.body.dataset.jpThemeName) ? 7 : 4.5,
    };
  };
  const term = new Xterm({
    fontFamily: '"DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace',
    fontSize: 13, lineHeight: 1.2, scrollback: 5000, cursorBlink: true, ...colours(),
    logLevel: "off", // a program that prints bytes at random would fill the browser's console
  });
  const fitter = new Fit();
  term.loadAddon(fitter);
  term.open(place);
  term.textarea?.setAttribute("aria-label", "Terminal. To leave: press Escape, then Tab.");

  const send = (message) => {
    try {
      model.send(message);
    } catch { // JupyterLab does not send to a kernel that has ended or has been started anew
      end("The kernel has ended, and the shell with it. Run the cell again.");
    }
  };
  const end = (words) => {
    term.options.cursorBlink = false;
    term.options.disableStdin = true;
    place.querySelector("form")?.remove();
    state.textContent = words;
  };

  // A program may ask what the terminal is, and each view would answer; only one shall, and none
  // while old output is shown again.
  let replaying = false;
  const type = (message) => {
    if (!replaying && place.contains(document.activeElement)) send(message);
  };
  term.onData((text) => type({ type: "input", text }));
  // An old-style report of the mouse: each character stands for a byte, and is no text.
  term.onBinary((data) => type({ type: "bytes", bytes: Array.from(data, (c) => c.charCodeAt(0)) }));

  let escaped = false;
  term.attachCustomKeyEventHandler((event) => {
    const { type, key, ctrlKey, shiftKey } = event;
    if (type !== "keydown" || key === "Shift") return true;
    const leaves = escaped && key === "Tab"; // the browser moves the focus
    escaped = key === "Escape";
    if (ctrlKey && key.toLowerCase() === "c" && (shiftKey || term.hasSelection())) {
      document.execCommand("copy"); // xterm.js hears of it
      term.clearSelection();
      event.preventDefault();
      return false;
    }
    return !leaves && !(ctrlKey && key.toLowerCase() === "v"); // the browser pastes
  });
  for (const kind of ["keydown", "keypress", "keyup", "paste", "copy", "cut", "mousedown", "contextmenu"]) {
    place.addEventListener(kind, (event) => event.stopPropagation()); // they are not JupyterLab's
  }

  // The kernel is told how many characters there is room for, and by that asked whether it lives.
  const fit = () => {
    const { rows, cols } = fitter.proposeDimensions() ?? {};
    if (cols > 0) send({ type: "size", rows: Math.max(2, rows), columns: Math.max(20, cols) });
  };
  place.addEventListener("focusin", fit);
  const sizes = new ResizeObserver(() => { if (frame.dataset.ready) fit(); });
  sizes.observe(place);
  const themes = new MutationObserver(() => { Object.assign(term.options, colours()); });
  themes.observe(document.body, { attributeFilter: ["data-jp-theme-name", "data-jp-theme-light"] });

  aloud.checked = term.options.screenReaderMode = localStorage.getItem(ALOUD) === "yes";
  aloud.addEventListener("change", () => {
    localStorage.setItem(ALOUD, aloud.checked ? "yes" : "no");
    term.options.screenReaderMode = aloud.checked;
  });

  let taken = 0;
  const take = (count) => { // tell the kernel how far we are, so that it does not run ahead
    taken += count;
    if (taken < 100000) return;
    send({ type: "taken", bytes: taken });
    taken = 0;
  };
  model.on("msg:custom", (message, [buffer] = []) => {
    const data = buffer && new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
    if (message.type === "screen" && message.view === view) {
      replaying = true;
      term.resize(message.columns, message.rows);
      term.reset();
      term.write(data, () => { replaying = false; fit(); });
      frame.dataset.ready = "true";
    } else if (message.type === "again" || (message.type === "hello" && !frame.dataset.ready)) {
      send({ type: "open", view });
    } else if (!frame.dataset.ready) {
      return; // what comes before is part of the screen
    } else if (message.type === "output") {
      term.write(data, () => take(data.length));
    } else if (message.type === "size") {
      term.resize(message.columns, message.rows);
    } else if (message.type === "ended") {
      end(`The shell has ended with status ${message.status}.`);
    }
  });
  model.on("comm_live_update", fit); // the kernel starts anew, or the page has found it again
  // The kernel takes a comm's first message between two cells only, and later ones where it has
  // last said something: once it has answered, also while a cell runs. So all else comes after.
  send({ type: "hello" });
  return () => {
    sizes.disconnect();
    themes.disconnect();
    term.dispose();
  };
}

export default { render };
