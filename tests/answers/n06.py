"""Notebook 06."""

WRONG: dict[str, list[tuple[str, str]]] = {}
