"""What only developers call; see CONTRIBUTING.md."""
