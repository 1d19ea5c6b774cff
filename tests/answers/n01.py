"""Notebook 01."""

WRONG: dict[str, list[tuple[str, str]]] = {}
