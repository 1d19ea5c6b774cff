"""What several tests use: processes, the course, terminals, pages in a browser."""
