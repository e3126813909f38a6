"""The documentation as a site: it builds without a warning, asks nobody for anything, says what the program does."""

import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from documents_code import REPOSITORY

FAMILIES = ("adversarial", "consistency", "corruptions", "srvr", "verification")
LONGEST_WAIT_MS = 180_000
MEASURES = REPOSITORY / "docs" / "measures"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site as `make docs` builds it: `strict`, so that a broken link or an unknown name of the program fails."""
    folder = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)],
        cwd=REPOSITORY, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return folder


class _Asked(HTMLParser):
    """Addresses that a page's own elements load; links for people are none of them."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        said = dict(attributes)
        loads = tag in {"script", "img", "iframe", "source", "video"} or (
            tag == "link" and said.get("rel") not in {"canonical", "next", "prev"}
        )
        self.found += [said[key] for key in ("src", "href") if loads and said.get(key)]


def test_no_page_loads_anything_from_elsewhere(site):
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 30
    for page in pages:
        asked = _Asked()
        asked.feed(page.read_text(encoding="utf-8"))
        assert [address for address in asked.found if re.match(r"(https?:)?//", address)] == [], page.name


def test_formulas_are_drawn_and_references_are_links(site):
    for family in FAMILIES:
        page = (site / "measures" / f"{family}.html").read_text(encoding="utf-8")
        assert '<math xmlns="http://www.w3.org/1998/Math/MathML" display="block"' in page
        assert "arithmatex" not in page
    reference = (site / "api.html").read_text(encoding="utf-8")
    assert ":func:" not in reference
    assert 'href="#assay.Run"' in reference


def test_pages_from_elsewhere_and_notebooks_are_there(site):
    for name in (
        "changelog",
        "contributing",
        "leaderboard",
        "security",
        "notebooks/my_network_in_ten_minutes",
    ):
        assert (site / f"{name}.html").is_file()
    contributing = (site / "contributing.html").read_text(encoding="utf-8")
    assert '<a href="families.html">How to add a task family</a>' in contributing


def test_a_reader_without_a_network_finds_a_word_and_sees_a_chart(site, chromium):
    context = chromium.new_context(offline=True)
    context.set_default_timeout(LONGEST_WAIT_MS)
    page = context.new_page()
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((site / "index.html").as_uri())
    page.fill("input[name=query]", "calibrated")
    page.wait_for_selector(".md-search-result__item a")
    page.goto((site / "notebooks" / "my_network_in_ten_minutes.html").as_uri())
    page.wait_for_selector(".plotly-chart .main-svg")
    context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert complaints == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_no_page_is_wider_than_the_window(site, chromium, width, scheme):
    context = chromium.new_context(
        offline=True, viewport={"width": width, "height": 800}, color_scheme=scheme
    )
    context.set_default_timeout(LONGEST_WAIT_MS)
    page = context.new_page()
    for name in ("index", "measures/verification", "api", "command_line", "notebooks/what_five_measures_say"):
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    context.close()


def _guards_of(page):
    """The names in the first column of the page's table of guards."""
    table = page.read_text(encoding="utf-8").partition("| guard |")[2]
    cells = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    return {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_measure_s_page_lists_its_guards(family):
    """Those that published results have are on the page, and each on the page stands in the family's code."""
    listed = _guards_of(MEASURES / f"{family}.md")
    published = {
        guard["name"]
        for path in (REPOSITORY / "leaderboard" / "submissions").glob(f"*/results/{family}/*.json")
        for guard in json.loads(path.read_text(encoding="utf-8"))["guards"]
    }
    assert published
    assert published <= listed | _guards_of(MEASURES / "index.md")
    tasks = REPOSITORY / "suite" / "assay" / "tasks"
    code = "".join(path.read_text() for part in (family, "shared") for path in (tasks / part).rglob("*.py"))
    written = {re.sub("_(real|adversarial)_", "_{kind}_", name.removesuffix("_agrees")) for name in listed}
    assert [name for name in written if name not in code] == []
