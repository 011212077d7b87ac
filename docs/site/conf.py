"""The site of the documentation: `make docs` builds it from docs/*.md and the docstrings into build/docs/."""

import re

import mien

project = "mien"
release = version = mien.__version__
copyright = "the authors of mien, Apache-2.0"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx_copybutton"]
root_doc = "site/index"
exclude_patterns = [
    "index.md",  # the same list for those who read on a forge
    "tutorials/tutorial",  # what the notebooks leave where a reader runs them
]

myst_heading_anchors = 4
nb_execution_mode = "off"  # tests/integration/test_notebooks.py executes them

default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
autodoc_default_options = {"members": True, "undoc-members": False}

html_theme = "furo"
html_title = f"mien {version}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
# Nothing is loaded from elsewhere.
html_theme_options = {"source_edit_link": "", "top_of_page_buttons": []}


def plain(app, what, name, obj, options, lines):
    """Docstrings are plain text: what reStructuredText would take for markup is escaped, and indented lines that are no
    list are shown as they are."""
    made, is_block = [], False
    for line in lines:
        begins_block = re.match(r"( {2,}|\t)\S", line) and not is_block and not line.lstrip().startswith(">>>")
        if begins_block:
            made += ["", "::", ""]
        is_block = bool(re.match(r"( {2,}|\t)\S", line)) or (is_block and not line.strip())
        made.append(line if is_block or line.startswith(">>>") else re.sub(r"(?<!`)([*|])", r"\\\1", line))
    lines[:] = made


def setup(app):
    app.connect("autodoc-process-docstring", plain)
