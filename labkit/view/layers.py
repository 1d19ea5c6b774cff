"""Layers that lie on each other: what each says of a path, and what one sees from above."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath

from labkit.view.picture import Picture, figure
from labkit.view.text import fit_columns, markup, more, table, visible

MAX_ROWS = 40  # more paths are counted
HIDING = {"file", "new folder", "removed"}  # below these a lower layer's is not seen


@dataclass(frozen=True, repr=False)
class LayersPicture(Picture):
    """Some folders as overlayfs merges them.

    Attributes:
        layers: the lowest first: a name, and what the layer holds, path to kind: "folder", "new
            folder" (opaque), "removed" (a whiteout), "file" for all else.
    """

    layers: dict[str, dict[str, str]]

    def __repr__(self) -> str:
        """The picture in words."""
        rows = [["", *map(visible, self.layers), "you see"]]
        for path in self.paths[:MAX_ROWS]:
            kinds = [layer.get(path, "") for layer in self.layers.values()]
            seen = ", ".join(map(visible, self.seen(path))) or "nothing"
            rows.append([fit_columns(f"/{visible(path)}", 40), *kinds, seen])
        return "\n".join([table(rows), *more(len(self.paths), MAX_ROWS)])

    def html(self) -> str:
        """A table: a row for each path, a column for each layer, and at last what one sees."""
        head = "".join(f'<th scope="col">{markup(one)}</th>' for one in self.layers)
        rows = "".join(map(self._row, self.paths[:MAX_ROWS]))
        inner = f'<table><tr><td></td>{head}<th scope="col">you see</th></tr>{rows}</table>'
        rest = "".join(f"<p>{words}</p>" for words in more(len(self.paths), MAX_ROWS))
        return figure("lk-layers", inner + rest, "Layers, and what one sees from above")

    def seen(self, path: str) -> list[str]:
        """Name the layers whose one is seen, the lowest first: several for a merged folder."""
        seen: list[str] = []
        for name, layer in reversed(self.layers.items()):
            kind = layer.get(path, "")
            if kind.endswith("folder") or (kind == "file" and not seen):
                seen.insert(0, name)
            if any(layer.get(str(one)) in HIDING for one in (path, *PurePath(path).parents)):
                break
        return seen

    @cached_property
    def paths(self) -> list[str]:
        """All paths, each folder before what is in it."""
        return sorted(
            {path for layer in self.layers.values() for path in layer},
            key=lambda path: path.split("/"),
        )

    def _row(self, path: str) -> str:
        seen, cells = self.seen(path), ""
        for number, (name, layer) in enumerate(self.layers.items(), 1):
            kind = layer.get(path, "")
            if name in seen:
                whose = "own" if number == len(self.layers) else "shared"
                kind = f'<span class="lk-{whose}">{kind}</span>'
            cells += f"<td>{kind}</td>"
        words = markup(", ".join(seen)) or "nothing"
        return f'<tr><th scope="row">/{markup(path)}</th>{cells}<td>{words}</td></tr>'
