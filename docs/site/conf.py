"""Settings of Sphinx for the documentation site; `tools/website` lays the pages beside a copy of this file."""

from importlib import metadata

project = "libbucket"
author = "The libbucket authors"
release = metadata.version("libbucket")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
default_role = "code"  # single backticks in docstrings
exclude_patterns = ["files"]

myst_heading_anchors = 4
myst_enable_extensions = ["attrs_block"]

autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_use_ivar = True
toc_object_entries = False

html_theme = "furo"
html_title = "libbucket"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["files"]
html_copy_source = False
html_domain_indices = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": False}
