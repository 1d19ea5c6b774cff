// Tells the kernel that this page shows the picture, and shows what the kernel draws.

const RENEW = 20000; // ms; the kernel forgets a page that it has not heard of for 60 s

function render({ model, el }) {
  const view = `${Date.now()}-${Math.random()}`;
  const say = (state) => model.send({ view, state });
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
    hidden();
  };
}

export default { render };
