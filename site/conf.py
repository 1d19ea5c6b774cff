"""Sphinx's settings for `make site`: the course as pages, with the outputs that nbval verified."""

import tomllib
from pathlib import Path

PROJECT = tomllib.loads(Path(__file__).parent.with_name("pyproject.toml").read_text())["project"]

project = "mydocker"
release = PROJECT["version"]
language = "en"
gettext_compact = False  # a catalogue for each notebook
extensions = ["myst_nb", "tools.site"]
include_patterns = ["index.md", "CONTRIBUTING.md", "docs/*.md", "notebooks/*.ipynb"]
nb_custom_formats = {".ipynb": "tools.site.folded"}
nb_execution_mode = "off"
nb_merge_streams = True
nb_code_prompt_show = "Show the cell"
nb_code_prompt_hide = "Fold it away"
myst_heading_anchors = 3
myst_heading_slug_func = "tools.site.anchor"

html_title = "mydocker"
html_theme = "furo"
html_static_path = ["site.css", "recording.webp"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_theme_options = {
    "announcement": "These pages are to read; <code>make lab</code> runs them.",
    "dark_css_variables": {"color-foreground-primary": "#e4e4e4"},
}
pygments_style = "a11y-light"
pygments_dark_style = "a11y-dark"
