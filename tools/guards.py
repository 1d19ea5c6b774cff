"""What must not change unnoticed while the code is rebuilt: recorded in tools/recorded, compared.

    make guards            compare, show each difference, and end with 1 where there is one
    make guards RECORD=1   record anew; the reason goes into the commit

    tests.txt         names of all tests; the ways out of the sandbox and the notebooks' cells too
    hints.txt         what each wrong answer of tests/answers is told
    outputs/NN.txt    what a notebook's cells print and show as text, as it is saved
    pages/*.png       four pages in both themes

Names and hints are those of the last `make test`.
"""

import base64
import difflib
import os
import shutil
import sys
import tempfile
import xml.etree.ElementTree
from collections.abc import Iterator
from pathlib import Path

import nbformat

from labkit.course import workbook
from tests.helpers import browser

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "tools" / "recorded"
NOW = ROOT / "build" / "guards"
REPORT = ROOT / "build" / "junit.xml"
# A notebook, the words of the cell whose output is shown, and what that output must hold first.
PAGES = (
    ("00-start-here.ipynb", "progress()", "[aria-label='Exercises passed']"),
    ("03-the-first-container.ipynb", "display(Terminal(shell)", ".labkit-terminal-frame"),
    ("04-exec.ipynb", "TimeLine(", ".lk-timeline"),
    ("05-the-vanishing-proc.ipynb", "mounts_picture(", ".lk-picture"),
)
THEMES = {"light": "JupyterLab Light", "dark": "JupyterLab Dark"}
DIFFERENT = 5  # percent of a page's pixels: a cursor and times move, a layout does not
COMPARE = """async ([one, other]) => {
  const pixels = await Promise.all([one, other].map(async (data) => {
    const file = await fetch(`data:image/png;base64,${data}`);
    const image = await createImageBitmap(await file.blob());
    const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    return new Uint32Array(canvas.getImageData(0, 0, image.width, image.height).data.buffer);
  }));
  if (pixels[0].length !== pixels[1].length) return 100;
  return 100 * pixels[0].filter((pixel, n) => pixel !== pixels[1][n]).length / pixels[0].length;
}"""


def main() -> int:
    """Record what there is now, or compare it with what was recorded."""
    if browser.chromium() is None:
        print("make guards: Chromium not found. Cure: sudo apt install chromium", file=sys.stderr)
        return 2
    shutil.rmtree(NOW, ignore_errors=True)
    for name, text in texts():
        place = NOW / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    lines = photograph()
    if os.environ.get("RECORD"):
        shutil.rmtree(RECORDED, ignore_errors=True)
        shutil.copytree(NOW, RECORDED)
        print(f"{RECORDED.relative_to(ROOT)} is new; look at the difference and at its pages")
        return 0
    lines = [line for name in names() for line in difference(name)] + lines
    print("\n".join(lines) or "nothing differs from what was recorded")
    return int(bool(lines))


def texts() -> Iterator[tuple[str, str]]:
    """Yield what is compared line by line, each with its name."""
    try:
        cases = list(xml.etree.ElementTree.parse(REPORT).iter("testcase"))
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        sys.exit(f"make guards: {REPORT.relative_to(ROOT)}: {error}. Cure: make test")
    found = {f"{case.get('classname')}::{case.get('name')}": case for case in cases}
    yield "tests.txt", "".join(f"{name}\n" for name in sorted(found))
    hints = (
        f"{case.get('name')}: {told.get('value')}\n"
        for _, case in sorted(found.items())
        for told in case.iter("property")
        if told.get("name") == "hint"
    )
    yield "hints.txt", "".join(hints)
    for number, path in workbook.notebooks().items():
        yield f"outputs/{number:02}.txt", outputs(path)


def outputs(path: Path) -> str:
    """Return what a notebook's cells print and show, as text."""
    parts = []
    for position, cell in enumerate(nbformat.read(path, as_version=4).cells, 1):
        for output in cell.get("outputs", []):
            data = output.get("data", {}).get("text/plain", output.get("evalue", ""))
            text = output.get("text", data)
            parts.append(f"== cell {position}, {output.get('name', output.output_type)}\n{text}\n")
    return "".join(parts)


def names() -> list[str]:
    """Return the texts that were recorded or are there now."""
    found = [p.relative_to(top) for top in (RECORDED, NOW) for p in top.rglob("*.txt")]
    return sorted(set(map(str, found)))


def difference(name: str) -> Iterator[str]:
    """Yield the lines of a text that differ, below its name."""
    before, now = (
        place.read_text(encoding="utf-8").splitlines() if place.exists() else []
        for place in (RECORDED / name, NOW / name)
    )
    heads = f"recorded/{name}", f"now/{name}"
    yield from difflib.unified_diff(before, now, *heads, n=0, lineterm="")


def photograph() -> list[str]:
    """Take the pages; return a line for each that differs from the recorded one."""
    lines = []
    (NOW / "pages").mkdir()
    with (
        tempfile.TemporaryDirectory(prefix="labkit-guards-") as folder,
        browser.lab(Path(folder)) as address,
        browser.launched() as chromium,
    ):
        for book, words, shown in PAGES:
            with browser.notebook(chromium, address, book) as notebook:
                notebook.work_through(words)
                place = notebook.page.locator(f".jp-Notebook :visible{shown}").last
                for theme, title in THEMES.items():
                    notebook.theme(title)
                    place.evaluate("e => e.scrollIntoView({ block: 'center' })")
                    name = f"pages/{book[:2]}-{theme}.png"
                    panel = notebook.page.locator(".jp-NotebookPanel")
                    taken = panel.screenshot(path=NOW / name)
                    print(f"  {name}", file=sys.stderr, flush=True)
                    if not (RECORDED / name).exists():
                        lines.append(f"{name}: nothing is recorded")
                    else:
                        before = (RECORDED / name).read_bytes()
                        pair = [base64.b64encode(data).decode() for data in (before, taken)]
                        share = notebook.page.evaluate(COMPARE, pair)
                        if share > DIFFERENT:
                            lines.append(f"{name}: {share:.1f} % of its pixels differ")
                notebook.theme(THEMES["light"])
    return lines


if __name__ == "__main__":
    sys.exit(main())
