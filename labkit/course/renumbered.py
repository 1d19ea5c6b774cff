"""Copies and progress of before notebook 06 became two get the numbers of now, once."""

import re
from collections.abc import Callable
from pathlib import Path

from labkit.course import progress, workbook

NAMES = {
    "06-a-real-terminal.ipynb": "07-a-real-terminal.ipynb",
    "07-the-job-of-pid-1.ipynb": "08-the-job-of-pid-1.ipynb",
    "08-without-root.ipynb": "09-without-root.ipynb",
}
MOVED_ON = (
    "{} still asks 06.1 and 06.2, which stand in the new 06; labkit reset 07 brings the new 07 and "
    "keeps yours."
)
_NUMBERS = {"06": "07", "06.3": "07.1"}
_NUMBERS |= {f"0{n}{e}": f"0{n + 1}{e}" for n in (7, 8) for e in ("", ".1", ".2", ".3", ".4")}
_PLACE = re.compile(
    r'(%notebook |%%(?:answer|solution) |### |(?:check|hint|solution)\(\\")([\d.]+)'
)


def renumber(folder: Path, record: dict[str, str], digest: Callable[[Path], str]) -> list[str]:
    """Do so with what `copies.prepare` finds; return what there is to say, in sentences."""
    olds = [old for old in NAMES if old in record or (folder / old).is_file()]
    if not olds or any((folder / new).exists() for new in NAMES.values()):
        return []
    said = ["Notebook 06 became 06 and 07; your copies and progress of 06 to 08 are now 07 to 09."]
    for old in filter(lambda name: (folder / name).is_file(), olds):
        copy = (folder / old).rename(folder / NAMES[old])
        if digest(copy) != record.get(old):  # else it is renewed
            text = copy.read_text(encoding="utf-8", errors="surrogateescape")
            text = _PLACE.sub(lambda found: found[1] + _NUMBERS.get(found[2], found[2]), text)
            workbook.write(copy, text.encode(errors="surrogateescape"))
            if old == "06-a-real-terminal.ipynb":
                said.append(MOVED_ON.format(copy.name))
    record |= {NAMES[old]: record.pop(old) for old in olds if old in record}
    passed = progress.folder()
    for name in sorted(_NUMBERS.keys() & progress.passed(), reverse=True):  # the last one first
        (passed / name).rename(passed / _NUMBERS[name])
    return said
