"""Notebook 07."""

WRONG: dict[str, list[tuple[str, str]]] = {}
