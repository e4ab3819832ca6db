"""Sphinx makes the site of what is here: ``nox -s docs``."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

import fastnn  # noqa: E402

project = "fastnn"
author = "the authors of fastnn"
project_copyright = f"{author}; MIT licence"
version = release = fastnn.__version__

extensions = [
    "mathml",
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_click",
]
exclude_patterns = ["_build", "_ext"]
default_role = "code"  # `x` in the docstrings is code
nitpicky = True
smartquotes = False  # "float64" is code in the docstrings, too
# Docstrings point to the modules that a reader of the code is sent to, which have no page here.
nitpick_ignore_regex = [
    ("py:(mod|data|func|class|meth|attr)", pattern)
    for pattern in (
        r"\.?(incremental|expansions|loss_ratios|support)\b.*",
        r"fastnn\.(base_network|backends|files|checkpoints|checkpointing|functions\.obj|serving\.g)\S*",
    )
]

# -- pages and notebooks ---------------------------------------------------------------------------

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # on a busy machine the training takes minutes
nb_merge_streams = True

# -- reference -------------------------------------------------------------------------------------

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # shapes and dtypes are in the docstrings
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# -- look ------------------------------------------------------------------------------------------

html_theme = "furo"
html_title = f"fastnn {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"top_of_page_buttons": []}
pygments_style = "default"
html_math_renderer = "mathml"  # _ext/mathml.py
