"""For instructors: the release version, grading, the report."""
