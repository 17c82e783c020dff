"""How an object shows itself in a notebook: a small table of what it is.

Without colours of its own, so that it reads on a light and on a dark page. Imports nothing of the
package.
"""

from collections.abc import Mapping
from html import escape

# Notebooks set what stands between two $ as a formula, but not in what bears these classes
# (MathJax 2 in exported pages, 3 in JupyterLab).
LITERAL = 'class="tex2jax_ignore mathjax_ignore"'
_LEFT = ' style="text-align:left"'  # notebooks set tables to the right


def definition_table(caption: str, entries: Mapping[str, object]) -> str:
    """HTML of one row an entry, its name and its value; everything is escaped."""
    rows = "".join(
        f'<tr><th scope="row"{_LEFT}>{escape(name)}</th><td{_LEFT}>{escape(str(value))}</td></tr>'
        for name, value in entries.items()
    )
    title = f'<caption style="text-align:left;font-weight:bold">{escape(caption)}</caption>'
    return f"<table {LITERAL}>{title}<tbody>{rows}</tbody></table>"
