"""Notebook 05."""

WRONG: dict[str, list[tuple[str, str]]] = {}
