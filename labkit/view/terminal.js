// A terminal in a page. The shell lives in the notebook's kernel; see terminal.py for the messages.

const FONT = '"DejaVu Sans Mono", Menlo, Consolas, "Liberation Mono", monospace';
const LEAVE = "To leave: press Escape, then Tab.";
const ALOUD = "labkit-terminal-aloud"; // where a browser remembers who wants the screen read
const READY = "labkitXterm"; // where a page keeps the library, for all its terminals

// Run the one chunk of JupyterLab's program that holds xterm.js, and return what it exports.
function unpack(source) {
  const chunks = [];
  const scope = new Proxy({}, {
    get: (own, name) => (/hunk_jupyterlab_application_top$/.test(String(name)) ? chunks : own[name] ?? globalThis[name]),
    has: () => true,
    set: (own, name, value) => { own[name] = value; return true; },
  });
  new Function("self", source)(scope);
  const modules = chunks[0][1];
  for (const id of Object.keys(modules)) {
    const module = { exports: {} };
    try { modules[id].call(module.exports, module, module.exports, () => ({})); } catch { continue; }
    if (module.exports.Terminal) return module.exports;
  }
  throw new Error("this JupyterLab's xterm.js is packed in another way than those that are known");
}

// Ask the kernel for the library, once for all terminals of the page.
function library(model) {
  globalThis[READY] ??= new Promise((resolve, reject) => {
    const receive = (message, buffers) => {
      if (message.type !== "library") return;
      model.off("msg:custom", receive);
      try {
        if (message.problem) throw new Error(message.problem);
        resolve(unpack(new TextDecoder().decode(buffers[0])));
      } catch (error) {
        reject(error);
      }
    };
    model.on("msg:custom", receive);
    model.send({ type: "library" });
  });
  globalThis[READY].catch(() => { globalThis[READY] = undefined; }); // the next one asks again
  return globalThis[READY];
}

// The kernel takes a comm's first message between two cells only, and later ones where it has last
// said something: once it has answered, also while a cell runs. So nothing is said before that.
function answered(model, send) {
  return new Promise((resolve) => {
    const receive = (message) => {
      if (message.type !== "hello") return;
      model.off("msg:custom", receive);
      resolve();
    };
    model.on("msg:custom", receive);
    send({ type: "hello" });
  });
}

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const bytes = (buffer) => new Uint8Array(buffer.buffer ?? buffer, buffer.byteOffset ?? 0, buffer.byteLength);

// The eight colours of a terminal, dark ones on light ground and light ones on dark ground.
const COLOURS = ["black", "red", "green", "yellow", "blue", "magenta", "cyan", "white"];
const ON_LIGHT = ["#1f2328", "#b3261e", "#1a6b2f", "#7a5700", "#0b57d0", "#8430a8", "#00677d", "#5f6b7a"];
const ON_DARK = ["#7c8796", "#ff8a80", "#7ddb8c", "#f2cc60", "#82b1ff", "#e0a3ff", "#6fdde8", "#e8eaed"];

// JupyterLab's colours, so that the terminal follows its theme. xterm.js itself sees to it that
// whatever colour a program chooses stands out from the background (minimumContrastRatio).
function theme() {
  const style = getComputedStyle(document.body);
  const colour = (name, otherwise) => style.getPropertyValue(name).trim() || otherwise;
  const dark = document.body.dataset.jpThemeLight === "false";
  const background = colour("--jp-layout-color0", dark ? "#111" : "#fff");
  const foreground = colour("--jp-content-font-color0", dark ? "#fff" : "#000");
  const colours = { background, foreground, cursor: foreground, cursorAccent: background };
  colours.selectionBackground = dark ? "#264f78" : "#add6ff";
  COLOURS.forEach((name, n) => {
    colours[name] = colours[`bright${name[0].toUpperCase()}${name.slice(1)}`] = (dark ? ON_DARK : ON_LIGHT)[n];
  });
  return colours;
}
const contrast = () => (/high contrast/i.test(document.body.dataset.jpThemeName ?? "") ? 7 : 4.5);

// The terminal itself. It tells `send` what is typed and which size fits.
class Xterm {
  constructor({ Terminal }, place, send) {
    this.place = place;
    this.send = send;
    this.quiet = false; // while old output is shown again, nobody waits for answers to it
    this.term = new Terminal({
      fontFamily: FONT, fontSize: 13, lineHeight: 1.2, scrollback: 5000, cursorBlink: true,
      theme: theme(), minimumContrastRatio: contrast(),
      logLevel: "off", // a program that prints bytes at random would fill the browser's console
    });
    this.term.open(place);
    this.term.textarea.setAttribute("aria-label", `Terminal. ${LEAVE}`);
    this.term.attachCustomKeyEventHandler((event) => this.key(event));
    this.term.onData((text) => this.type({ type: "input", text }));
    // An old-style report of the mouse: each character stands for a byte, and is no text.
    this.term.onBinary((data) => this.type({ type: "bytes", bytes: Array.from(data, (c) => c.charCodeAt(0)) }));
    place.addEventListener("focusin", () => this.fit(true));
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(place);
    this.themes = new MutationObserver(() => {
      this.term.options.theme = theme();
      this.term.options.minimumContrastRatio = contrast();
      this.paint();
    });
    this.themes.observe(document.body, { attributeFilter: ["data-jp-theme-name", "data-jp-theme-light"] });
    this.paint();
  }

  paint() {
    const { background } = this.term.options.theme;
    this.place.parentElement.style.setProperty("--labkit-terminal-background", background);
  }

  // A program may ask what the terminal is, and each view would answer; only one shall.
  type(message) {
    if (!this.quiet && this.place.contains(document.activeElement)) this.send(message);
  }

  key(event) {
    if (event.type !== "keydown") return true;
    const { key, ctrlKey, shiftKey, altKey, metaKey } = event;
    if (["Shift", "Control", "Alt", "Meta"].includes(key)) return true;
    const leaving = this.escaped && key === "Tab";
    this.escaped = key === "Escape" && !ctrlKey && !altKey && !metaKey;
    if (leaving) return false; // the browser moves the focus
    const letter = key.toLowerCase();
    if (ctrlKey && !altKey && letter === "c" && (shiftKey || this.term.hasSelection())) {
      if (this.term.hasSelection()) navigator.clipboard?.writeText(this.term.getSelection());
      this.term.clearSelection();
      event.preventDefault();
      return false;
    }
    return !(ctrlKey && !altKey && letter === "v"); // the browser pastes
  }

  // How many characters the element has room for; tell the kernel when it has changed.
  fit(again = false) {
    const screen = this.place.querySelector(".xterm-screen");
    const style = getComputedStyle(this.place);
    if (!screen?.clientWidth || !this.place.clientWidth) return;
    const scrollbar = 14;
    const width = this.place.clientWidth - parseFloat(style.paddingLeft) - scrollbar;
    const height = this.place.clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom);
    const columns = Math.max(20, Math.floor(width / (screen.clientWidth / this.term.cols)));
    const rows = Math.max(2, Math.floor(height / (screen.clientHeight / this.term.rows)));
    const size = `${rows} ${columns}`;
    if (size === this.fitting && !again) return;
    this.fitting = size;
    if (rows !== this.term.rows || columns !== this.term.cols || !again) this.send({ type: "size", rows, columns });
  }

  readAloud(on) { this.term.options.screenReaderMode = on; }

  resize(rows, columns) { this.term.resize(columns, rows); }

  show(data) { // what was printed before this view was there
    this.quiet = true;
    this.term.reset();
    this.term.write(data, () => { this.quiet = false; this.fit(); });
  }

  print(data, then) { this.term.write(data, then); }

  end() { this.term.options.cursorBlink = false; this.term.options.disableStdin = true; }

  dispose() { this.sizes.disconnect(); this.themes.disconnect(); this.term.dispose(); }
}

// Without xterm.js: the output as text, and a line to type into.
class Lines {
  constructor(place, send) {
    this.screen = element("pre", { role: "log", tabindex: "0", "aria-label": "Terminal output" });
    const label = `line-${Math.random().toString(36).slice(2)}`;
    this.input = element("input", { id: label, autocomplete: "off", spellcheck: "false" });
    this.form = element("form", {}, element("label", { for: label }, "Type a line, then Enter:"), this.input);
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      send({ type: "input", text: this.input.value + "\r" });
      this.input.value = "";
    });
    this.input.addEventListener("keydown", ({ ctrlKey, key }) => {
      const control = { c: "\x03", d: "\x04" }[key];
      if (ctrlKey && control && !getSelection().toString()) send({ type: "input", text: control });
    });
    place.replaceChildren(this.screen, this.form);
    place.style.cssText = "height: auto; padding: 0; resize: none";
    this.decoder = new TextDecoder();
    this.text = "";
  }

  readAloud() {} // its output is a log that is read anyway
  resize() {}
  show(data) { this.text = ""; this.print(data, () => {}); }

  print(data, then) {
    this.text += this.decoder.decode(data, { stream: true });
    const plain = this.text
      .replace(/\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[ -/]*[0-~]/g, "")
      .replace(/\r+\n/g, "\n").replace(/[^\n]\x08 \x08/g, "").replace(/[\x00-\x08\x0b-\x1a]/g, "");
    this.text = this.text.slice(-20000);
    this.screen.textContent = plain.split("\n").map((line) => line.split("\r").at(-1)).slice(-500).join("\n");
    this.screen.scrollTop = this.screen.scrollHeight;
    then();
  }

  end() { this.input.disabled = true; }
  dispose() {}
}

function render({ model, el }) {
  const view = Math.random().toString(36).slice(2);
  const send = (message) => {
    try {
      model.send(message);
    } catch { // JupyterLab does not send to a kernel that has ended or has been started anew
      screen?.end();
      state.textContent = "The kernel has ended, and the shell with it. Run the cell again.";
    }
  };
  const probe = () => send({ type: "alive" });
  const place = element("div", { class: "labkit-terminal-screen" });
  const state = element("span", { role: "status" });
  const hint = element("span");
  hint.innerHTML = "<kbd>Esc</kbd> <kbd>Tab</kbd> leaves the terminal";
  const aloud = element("input", { type: "checkbox" });
  const bar = element("div", { class: "labkit-terminal-bar" }, hint, state,
    element("label", {}, aloud, " for a screen reader"));
  const frame = element("div", { class: "labkit-terminal-frame", role: "group", "aria-label": "Terminal" }, place, bar);
  place.setAttribute("data-lm-suppress-shortcuts", "true"); // keys in here are not JupyterLab's
  for (const kind of ["keydown", "keypress", "keyup", "paste", "copy", "cut", "mousedown", "contextmenu"]) {
    place.addEventListener(kind, (event) => event.stopPropagation());
  }
  el.classList.add("labkit-terminal");
  el.append(frame);

  let screen = null;
  let gone = false;
  let taken = 0;
  const take = (count) => { // tell the kernel how far we are, so that it does not run ahead
    taken += count;
    if (taken < 100000) return;
    send({ type: "taken", bytes: taken });
    taken = 0;
  };
  const receive = (message, buffers) => {
    if (message.type === "screen" && message.view === view) {
      screen.resize(message.rows, message.columns);
      screen.show(bytes(buffers[0]));
      frame.dataset.ready = "true";
    } else if (!frame.dataset.ready) {
      return; // what comes before is part of the screen
    } else if (message.type === "output") {
      const data = bytes(buffers[0]);
      screen.print(data, () => take(data.length));
    } else if (message.type === "again") {
      send({ type: "open", view });
    } else if (message.type === "size") {
      screen.resize(message.rows, message.columns);
    } else if (message.type === "ended") {
      screen.end();
      state.textContent = `The shell has ended with status ${message.status}.`;
    }
  };
  model.on("msg:custom", receive);
  model.on("comm_live_update", probe); // the kernel starts anew, or the page has found it again
  place.addEventListener("focusin", probe);
  library(model).then(
    (xterm) => new Xterm(xterm, place, send),
    (error) => {
      hint.textContent = `A line at a time, without colours: ${error.message}.`.replace("..", ".");
      return new Lines(place, send);
    },
  ).then(async (made) => {
    screen = made;
    await answered(model, send);
    aloud.checked = localStorage.getItem(ALOUD) === "yes";
    screen.readAloud(aloud.checked);
    aloud.addEventListener("change", () => {
      localStorage.setItem(ALOUD, aloud.checked ? "yes" : "no");
      screen.readAloud(aloud.checked);
    });
    if (gone) screen.dispose(); else send({ type: "open", view });
  });
  return () => {
    gone = true;
    model.off("msg:custom", receive);
    model.off("comm_live_update", probe);
    screen?.dispose();
  };
}

export default { render };
