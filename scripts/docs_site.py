"""What the documentation site does besides mkdocs: pages from outside docs/, notebooks, formulas and links.

mkdocs calls the functions named ``on_…`` (``hooks`` in mkdocs.yml). Everything comes from this repository and from
installed packages; nothing is fetched.
"""

from __future__ import annotations

import html
import json
import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latex2mathml.converter import convert
from mkdocs.structure.files import File
from plotly.offline import get_plotlyjs

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[1]
ELSEWHERE = {
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "leaderboard/README.md": "leaderboard.md",
}
"""Pages that lie where their readers look for them, and the names that they have on the site."""
CHARTS = "assets/plotly.min.js"
NAMED_FILE = re.compile(r"(?<!\[)`((?:docs/[\w/.-]+|[A-Z]+|leaderboard/README)\.(?:md|ipynb))`(?!\])")
NOTEBOOK_LINK = re.compile(r"(\]\([\w/.-]+)\.ipynb\)")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
ROLE = re.compile(r":(?:attr|class|data|exc|func|meth|mod):<code>~?([\w.]+)</code>")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from elsewhere, a page for each notebook, and the script that draws its charts."""
    for name, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(REPOSITORY / name)))
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            page = file.src_uri.removesuffix(".ipynb") + ".md"
            content = notebook_page(file.content_string, posixpath.basename(file.src_uri))
            files.append(File.generated(config, page, content=content))
    files.append(File.generated(config, CHARTS, content=get_plotlyjs()))
    return files


def on_page_markdown(markdown: str, page: Page, files: Files, **_: Any) -> str:
    """Make links of the documents that a page names between backticks, and mend those of pages from elsewhere."""

    def link(found: re.Match[str]) -> str:
        target = site_page(found[1])
        if target is None or files.get_file_from_path(target) is None:
            return found[0]
        there = posixpath.relpath(target, posixpath.dirname(page.file.src_uri) or ".")
        return f"[{title_of(REPOSITORY / found[1])}]({there})"

    return NOTEBOOK_LINK.sub(r"\1.md)", NAMED_FILE.sub(link, markdown))


def on_page_content(content: str, page: Page, **_: Any) -> str:
    """Write formulas as MathML, and the references of docstrings as links."""
    content = FORMULA.sub(lambda found: mathml(found[2], found[1] == "div"), content)
    content = ROLE.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', content)
    if 'class="plotly-chart"' in content:
        here = posixpath.dirname(page.file.src_uri) or "."
        content += (
            f'<script src="{posixpath.relpath(CHARTS, here)}"></script>\n<script>{DRAW_CHARTS}</script>'
        )
    return content


def site_page(name: str) -> str | None:
    """Where a document of the repository is on the site, as a path of the site's sources."""
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    if not name.startswith("docs/"):
        return None
    return re.sub(r"\.ipynb$", ".md", name.removeprefix("docs/"))


def title_of(path: Path) -> str:
    """A page's first heading."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "".join(json.loads(text)["cells"][0]["source"])
    return text.splitlines()[0].lstrip("# ")


def mathml(formula: str, own_line: bool) -> str:
    """A formula in LaTeX as MathML, which browsers draw by themselves."""
    return convert(html.unescape(formula), display="block" if own_line else "inline")


def notebook_page(notebook: str, name: str) -> str:
    """An executed notebook as Markdown: its words, its code, and what that printed, showed and drew.

    The file itself, called ``name``, lies beside the page for readers who want to run it.
    """
    first, *others = json.loads(notebook)["cells"]
    parts = ["".join(first["source"]), f'<p><a href="{name}" download>Download this notebook</a></p>']
    for cell in others:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            parts.append(f"```python\n{source}\n```")
            parts.extend(f'<div class="cell-output">{shown(output)}</div>' for output in cell["outputs"])
    return "\n\n".join(parts) + "\n"


def shown(output: dict[str, Any]) -> str:
    """One output of a cell as HTML of one line: the richest form that a page can show."""
    if output["output_type"] == "stream":
        return as_text("".join(output["text"]))
    data = output["data"]
    if "application/vnd.plotly.v1+json" in data:
        chart = json.dumps(data["application/vnd.plotly.v1+json"]).replace("<", r"\u003c")
        return f'<div class="plotly-chart"><script type="application/json">{chart}</script></div>'
    words = html.escape("".join(data.get("text/plain", "")), quote=True)
    if words.startswith("&lt;"):  # an object's name, which tells nobody what is drawn
        words = "What the code above draws"
    if "image/png" in data:
        encoded = "".join(data["image/png"]).replace("\n", "")
        return f'<img alt="{words}" src="data:image/png;base64,{encoded}">'
    if "<table" in "".join(data.get("text/html", "")):
        return "".join("".join(data["text/html"]).splitlines())
    return as_text("".join(data["text/plain"]))


def as_text(text: str) -> str:
    """Text as it was printed; its lines are written as references, since a blank one would end the block."""
    return f"<pre>{html.escape(text.rstrip()).replace(chr(10), '&#10;')}</pre>"


DRAW_CHARTS = """
for (const place of document.querySelectorAll(".plotly-chart")) {
  const chart = JSON.parse(place.firstElementChild.textContent);
  Plotly.newPlot(place, chart.data, {...chart.layout, autosize: true}, {responsive: true, displaylogo: false});
}
"""
