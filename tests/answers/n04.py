"""Notebook 04."""

WRONG: dict[str, list[tuple[str, str]]] = {}
