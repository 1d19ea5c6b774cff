// Shows what the kernel draws, and tells it that somebody looks.

const RENEW = 20000; // ms; the kernel stops looking when it has heard of no page for 60 s

function render({ model, el }) {
  const gone = document.createElement("p");
  gone.setAttribute("role", "status");
  const draw = () => { el.innerHTML = model.get("html"); }; // escaped where it was drawn
  const watch = () => {
    if (document.visibilityState !== "visible") return;
    try {
      model.send({});
    } catch { // JupyterLab does not send to a kernel that has ended or has been started anew
      gone.textContent = "The kernel has ended: the picture no longer follows. Run the cell again.";
      el.append(gone);
      clearInterval(timer);
    }
  };
  const timer = setInterval(watch, RENEW);
  document.addEventListener("visibilitychange", watch);
  model.on("change:html", draw);
  model.on("comm_live_update", watch); // the kernel starts anew, or the page has found it again
  draw();
  watch();
  return () => {
    clearInterval(timer);
    document.removeEventListener("visibilitychange", watch);
  };
}

export default { render };
