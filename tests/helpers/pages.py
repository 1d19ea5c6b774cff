"""What tests ask of a page with pictures, whatever program shows it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anywidget import AnyWidget

# The page's colour and the ink, as JupyterLab's themes have them.
THEMES = {"light": ("#ffffff", "#000000"), "dark": ("#111111", "#ffffff")}


def themed(theme: str, html: str) -> str:
    """Return a page that has the variables of one of JupyterLab's themes."""
    paper, ink = THEMES[theme]
    style = f"--jp-layout-color0: {paper}; --jp-content-font-color0: {ink}"
    return f'<body style="{style}; color: {ink}; background: {paper}">{html}</body>'


def say(widget: "AnyWidget", **content: object) -> None:
    """Hand a widget a message, as a page sends it."""
    data = {"method": "custom", "content": content}
    widget.comm.handle_msg({"content": {"data": data}, "buffers": []})


# Elements and words of a picture that leave it at the side, that are cut off, or that stand on
# two lines though they are short.
LAYOUT_FAULTS = """[...document.querySelectorAll(".lk-picture")].flatMap((picture) => {
  const { left, right } = picture.getBoundingClientRect();
  const faults = [];
  const place = (rect, what) => {
    if (rect.left < left - 0.5 || rect.right > right + 0.5) faults.push(`outside: ${what}`);
  };
  for (const one of picture.querySelectorAll("*")) {
    place(one.getBoundingClientRect(), one.outerHTML.slice(0, 80));
    const { overflowX, overflowY, textOverflow } = getComputedStyle(one);
    if (one.namespaceURI.endsWith("xhtml") && (overflowX !== "visible" || overflowY !== "visible"
        || textOverflow !== "clip") && !one.matches("input, button"))
      faults.push(`may be cut off: ${one.outerHTML.slice(0, 80)}`);
  }
  const texts = document.createTreeWalker(picture, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    for (const rect of range.getClientRects()) place(rect, texts.currentNode.data);
    for (const word of texts.currentNode.data.matchAll(/[!-~]+/g)) {
      range.setStart(texts.currentNode, word.index);
      range.setEnd(texts.currentNode, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map((rect) => Math.round(rect.top)));
      if (word[0].length <= 12 && lines.size > 1) faults.push(`broken: ${word[0]}`);
    }
  }
  return faults;
})"""

# Words whose contrast with what lies behind them is below 4.5, as WCAG 2 measures it.
LOW_CONTRASTS = """(() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (color) => {
    const [r, g, b] = color.slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const behind = (element) => {  // the colour of what is nearest, and of bars drawn on the way
    const found = [];
    for (let at = element; at; at = at.parentElement) {
      const { backgroundColor, backgroundImage } = getComputedStyle(at);
      found.push(...(backgroundImage.match(/(?:color|rgba?)\\([^)]*\\)/g) ?? []).map(rgba));
      found.push(rgba(backgroundColor));
      if (found.at(-1)[3] === 255) break;
    }
    return found.filter((color) => color[3] === 255);
  };
  return [...document.querySelectorAll(".lk-picture *")].filter((element) =>
    [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())
  ).flatMap((element) => {
    const color = rgba(getComputedStyle(element).color);
    const least = Math.min(...behind(element).map((other) => contrast(color, other)));
    return least >= 4.5 ? [] : [`${least.toFixed(2)}: ${element.outerHTML.slice(0, 80)}`];
  });
})()"""
