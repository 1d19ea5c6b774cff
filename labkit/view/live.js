// Tells the kernel that this page shows the picture, and shows what the kernel draws.

const RENEW = 20000; // ms; the kernel forgets a page that it has not heard of for 60 s

function render({ model, el }) {
  const view = `${Date.now()}-${Math.random()}`;
  const say = (state) => {
    try {
      model.send({ view, state });
    } catch { // JupyterLab does not send to a kernel that has ended or has been started anew
      clearTimeout(patience);
      clearInterval(timer);
      if (!el.contains(gone)) el.append(gone);
    }
  };
  const gone = document.createElement("p");
  gone.setAttribute("role", "status");
  gone.textContent = "The kernel has ended: the picture no longer follows. Run the cell again.";
  const shown = () => document.visibilityState === "visible" && say("shown");
  const hidden = () => say("hidden");

  const draw = (message) => {
    clearTimeout(patience);
    el.innerHTML = message.html; // escaped where it was drawn
  };
  const patience = setTimeout(() => {
    el.textContent = "The picture comes as soon as the kernel has time: a cell is running.";
  }, 1000);

  model.on("msg:custom", draw);
  model.on("comm_live_update", shown); // the kernel starts anew, or the page has found it again
  document.addEventListener("visibilitychange", shown);
  window.addEventListener("pagehide", hidden);
  const timer = setInterval(shown, RENEW);
  say("shown");

  return () => {
    clearTimeout(patience);
    clearInterval(timer);
    window.removeEventListener("pagehide", hidden);
    document.removeEventListener("visibilitychange", shown);
    model.off("msg:custom", draw);
    model.off("comm_live_update", shown);
    hidden();
  };
}

export default { render };
