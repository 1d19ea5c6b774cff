"""Notebook 08."""

WRONG: dict[str, list[tuple[str, str]]] = {}
