"""Notebook 02."""

WRONG: dict[str, list[tuple[str, str]]] = {}
