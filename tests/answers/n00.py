"""Notebook 00."""

WRONG: dict[str, list[tuple[str, str]]] = {}
