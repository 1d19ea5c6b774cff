"""A run recorded, event by event."""
