"""The page of a run: whole in one file, every figure on it, and nothing from a name or reason taken as markup."""

import re
from html.parser import HTMLParser

from assay.board.page import run_page
from assay.results.card import Background
from assay.results.document import (
    Coverage,
    DataCard,
    Guard,
    Metric,
    ModelCard,
    ResultDocument,
    Status,
)  # fmt: skip
from assay.tasks.base import Figure

SHA = "0" * 64
HOSTILE = "<script>alert(1)</script>"


def result(name="m", guards=(), status=Status.COMPLETE, reason=None, family="adversarial"):
    return ResultDocument(
        task="t", family=family, title="T", spec={}, spec_sha256=SHA,
        model=ModelCard(
            name=name, source="s", licence="l", architecture="a", weights_sha256=SHA, label_space="digits",
            num_classes=10, input_shape=(1, 8, 8), preprocessing={},
        ),
        data=DataCard(name="d", title="D", licence="l", sha256=SHA),
        precision={}, job_key=SHA, status=status, reason=reason,
        coverage=Coverage(units=4, done=4, errors=0, limited=False),
        metrics=(Metric(name="clean_accuracy", value=0.75, n=4, unit="proportion", headline=True),),
        guards=guards, command="assay run --model m",
    )  # fmt: skip


class _Loads(HTMLParser):
    """Collects everything that a page would load from elsewhere."""

    def __init__(self):
        super().__init__()
        self.addresses = []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        if tag in {"script", "img", "iframe", "source"} and attrs.get("src"):
            self.addresses.append(attrs["src"])
        if tag == "link" and attrs.get("href"):
            self.addresses.append(attrs["href"])


def loads(page):
    parser = _Loads()
    parser.feed(page)
    return [address for address in parser.addresses if not address.startswith("data:")]


def test_the_page_shows_figure_guard_and_command_and_loads_nothing():
    guard = Guard(name="inside_the_ball", passed=False, value=1.0, limit=0.5, detail="too far")
    picture = Figure("p", "A picture", "with its caption", "png", b"\x89PNG")
    chart = Figure("c", "A chart", "seen", "plotly", '{"data": [], "layout": {}}')
    page = run_page([result(guards=(guard,))], {("m", "t"): [picture, chart]})
    for text in (
        "75.0 %",
        "inside_the_ball",
        "too far",
        "assay run --model m",
        "with its caption",
        "A chart",
    ):
        assert text in page
    assert loads(page) == []


def test_the_card_comes_first_a_row_a_model_and_says_what_the_families_mean():
    background = Background(
        meanings=[("adversarial", "adversarial: what stands.")],
        without={"srvr": "no shapes"},
        standing={("one", "t"): "behind 3 to 5 of 9"},
    )
    page = run_page([result(name="one"), result(name="two")], {}, background)
    card = page[page.index('id="card"') : page.index("<details")]
    for text in ("one", "two", "75.0 %", "n 4, behind 3 to 5 of 9", "what stands.", "n/a: no shapes"):
        assert text in card, text


def test_the_card_tells_what_was_found_from_what_was_proved():
    background = Background(evidence={("t", "clean_accuracy"): "found"})
    up = Metric(name="clean_accuracy", value=0.75, n=4, unit="proportion", title="T", direction="up")
    of = result().model_copy(update={"metrics": (up,), "headline": "clean_accuracy"})
    page = run_page([of], {}, background)
    assert "<b>≤ 75.0 %</b>" in page
    assert '<span class="evidence found">found</span>' in page
    page = run_page([of], {}, Background(evidence={("t", "clean_accuracy"): "proved"}))
    assert "<b>75.0 %</b>" in page
    assert '<span class="evidence proved">proved</span>' in page


def test_a_demonstration_fails_no_guard_and_is_called_one():
    guard = Guard(name="enough_images", passed=False, value=1.0, limit=0.5, detail="too few")
    page = run_page([result(guards=(guard,))], {}, Background(demonstrations={"t": "too few images"}))
    assert "failed: enough_images" not in page
    assert "a demonstration" in page


def test_a_failed_guard_marks_its_family_once():
    guard = Guard(name="inside_the_ball", passed=False, value=1.0, limit=0.5, detail="too far")
    page = run_page([result(name=name, guards=(guard,)) for name in ("one", "two")], {})
    assert page.count("failed: inside_the_ball") == 3  # in each model's row of the card, and at the family


def test_headings_are_titles_and_keys_stay_in_the_table():
    key = "brightness:0:0.3:robust"
    metric = Metric(
        name=key, value=0.5, n=4, unit="proportion", headline=True, title="Proved", direction="up"
    )
    page = run_page([result().model_copy(update={"metrics": (metric,), "headline": key})], {})
    before, _, table = page.partition('id="figures"')
    assert "Proved" in before
    assert key not in before
    assert key in table


def test_nothing_hostile_becomes_markup():
    chart = Figure(
        "c", HOSTILE, HOSTILE, "plotly", '{"data": [], "layout": {"title": "</script><script>alert(2)"}}'
    )
    page = run_page([result(name=HOSTILE, status=Status.PARTIAL, reason=HOSTILE)], {(HOSTILE, "t"): [chart]})
    assert HOSTILE not in page
    assert "<script>alert(2)" not in page
    assert re.search(r"&lt;script&gt;alert\(1\)", page)
