"""Executed notebooks as pages that need nothing but themselves. Imports `files`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from meiju_utils.files import write_text

_TEMPLATES = Path(__file__).parent / "templates"
_PAGE = "page"


def write_page(copy: Path, html: Path, names: Sequence[str]) -> None:
    """An executed notebook as HTML, with links to the pages of `names` beside it."""
    from nbconvert import HTMLExporter

    make: Any = HTMLExporter  # its constructor has no types
    exporter = make(template_name=_PAGE, extra_template_basedirs=[str(_TEMPLATES)])
    resources = {"meiju_page": html.stem, "meiju_pages": list(names)}
    body, _ = exporter.from_filename(str(copy), resources=resources)
    write_text(html, body)
