"""Executed notebooks as pages: whole in themselves, with neighbours, figures in words."""

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from meiju_utils.reporting import plots
from meiju_utils.reporting.pages import write_page

PIXEL = base64.b64encode(plots.png(plots.message("x"))).decode("ascii")


# What a browser would fetch when it opens a page.
_FETCHED = re.compile(
    r"""(?:src|href)\s*=\s*["']?\s*(?:https?:)?//[^"'\s>]+|url\(\s*["']?https?:"""
)


def fetched(page: str) -> list[str]:
    """What a page would fetch from elsewhere when it is opened; links to click do not count."""
    without_links = re.sub(r"<a\b[^>]*>", "", page)
    return _FETCHED.findall(without_links)


class Images(HTMLParser):
    """The attributes of a page's images."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str | None]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.found.append(dict(attrs))

    @classmethod
    def of(cls, page: str) -> list[dict[str, str | None]]:
        parser = cls()
        parser.feed(page)
        return parser.found


def test_a_page_fetches_nothing_and_links_its_neighbours(tmp_path: Path) -> None:
    shown = new_output(
        "display_data",
        data={"image/png": PIXEL},
        metadata={"image/png": {"alt": 'Best: "a" & <b>'}},
    )
    cell = new_code_cell("x", outputs=[shown], execution_count=1)
    text = new_markdown_cell("See [the challenge](https://example.org/a), and $5.")
    nbformat.write(new_notebook(cells=[text, cell]), tmp_path / "02_b.ipynb")
    write_page(tmp_path / "02_b.ipynb", tmp_path / "02_b.html", ["01_a", "02_b", "03_c"])
    page = (tmp_path / "02_b.html").read_text("utf-8")
    assert fetched(page) == []
    assert page.count('href="01_a.html"') == page.count('href="03_c.html"') == 2
    assert 'href="02_b.html"' not in page
    assert 'href="../report.html"' in page
    (image,) = Images.of(page)
    assert image["alt"] == 'Best: "a" & <b>'
    assert 'href="https://example.org/a"' in page  # to click


def test_what_would_be_fetched_is_found() -> None:
    page = '<script src="https://x.org/a.js"></script><a href="https://y.org">y</a>'
    page += "<link href='//z.org/b.css'><style>a { background: url(https://w.org/c.png) }</style>"
    assert len(fetched(page)) == 3


def test_a_figure_says_what_it_shows() -> None:
    figure, axes = plots.base.subplots(1, 2)
    plots.base.panel_title(axes[0, 0], "Emotion")
    axes[0, 0].set_xlabel("Epoch")
    axes[0, 0].set_ylabel("Loss")
    axes[0, 1].plot([0, 1], label="seed 0")
    axes[0, 1].legend()
    figure.finding = "It falls."
    assert plots.alt_text(figure) == "It falls. Emotion. Epoch against Loss. seed 0"
    assert plots.alt_text(plots.message("Nothing to show.")) == "Nothing to show"
    data, metadata = figure._repr_mimebundle_()
    assert data == {}
    assert metadata["image/png"]["alt"].startswith("It falls.")
