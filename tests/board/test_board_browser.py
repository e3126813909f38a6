"""The pages in a real Chromium: what a reader does with the mouse, the keyboard, a phone, a link, and in the dark."""

import csv
import json
from pathlib import Path

import pytest
from board_place import rewrite, use_specs
from synthetic import write_board, write_specs, write_track
from test_run_page import result

from assay.board.page import run_page
from assay.board.site.build import build_site
from assay.results.document import Guard, Metric
from assay.tasks.base import Figure

MODELS, TASKS = 60, 3
SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """A site of many invented models, opened as files."""
    root = tmp_path_factory.mktemp("browser")
    write_specs(root / "benchmarks", TASKS)
    write_track(root / "benchmarks", [f"adversarial/invented-{number:02d}" for number in range(TASKS - 1)])
    with pytest.MonkeyPatch.context() as patch:
        use_specs(patch, root / "benchmarks")
        write_board(root / "leaderboard", MODELS)
        build_site(root / "leaderboard", root / "site")
    return root / "site"


@pytest.fixture
def open_page(chromium, site):
    """Open a page of the site; a console message or a request beyond the site's files fails the test."""
    contexts, complaints = [], []

    def open_(name="index.html", **options):
        context = chromium.new_context(accept_downloads=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("request", lambda request: _check_request(request.url, site, complaints))
        path, _, link = name.partition("#")
        page.goto((site / path).as_uri() + (f"#{link}" if link else ""))
        if path == "index.html" or path.startswith("families/"):
            page.wait_for_selector("html[data-ready='1']", state="attached")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def _check_request(url, site, complaints):
    if not url.startswith((site.as_uri(), "data:", "blob:")):
        complaints.append(f"a request left the site: {url}")


def names(page):
    return page.locator("#board tbody th a").all_inner_texts()


def column(page, position):
    cells = page.locator(f"#board tbody tr td:nth-of-type({position})").all()
    return [float(cell.locator(".value").inner_text()) for cell in cells if cell.locator(".value").count()]


def test_it_opens_sorted_by_the_first_task_and_says_how_many_there_are(open_page):
    page = open_page()
    values = column(page, 2)
    assert values == sorted(values, reverse=True)
    assert f"of {MODELS}" in page.inner_text("#count")


def test_sorting_by_a_header_and_back(open_page):
    page = open_page()
    page.click("[data-sort='model']")
    assert names(page) == sorted(names(page))
    page.click("[data-sort='model']")
    assert names(page) == sorted(names(page), reverse=True)
    assert page.locator("th[aria-sort='descending']").count() == 1


def test_models_without_a_result_are_shown_last_never_dropped(open_page):
    page = open_page("index.html#size=100")
    assert len(names(page)) == MODELS
    last = page.locator("#board tbody tr").last
    assert last.locator("td.none").count() >= 1


def test_a_track_has_its_own_columns_and_the_link_keeps_it(open_page):
    page = open_page()
    tabs = page.locator(".tabs button")
    assert [text.split() for text in tabs.all_inner_texts()] == [
        ["Invented", "digits", str(MODELS)],
        ["Other", "tasks", tabs.nth(1).locator("small").inner_text()],
    ]
    assert headings(page) == ["Adversarial invented-00", "Adversarial invented-01"]
    tabs.nth(1).click()
    assert headings(page) == ["Adversarial invented-02"]
    assert page.locator("#pair").is_hidden()
    again = open_page("index.html#" + page.url.partition("#")[2])
    assert headings(again) == ["Adversarial invented-02"]
    assert again.locator(".tabs [aria-pressed='true']").inner_text().startswith("Other tasks")


def headings(page):
    return [button.inner_text().strip(" ▼▲") for button in page.locator("#board thead button").all()[1:]]


def test_a_heading_has_at_most_three_words_a_unit_and_a_direction(open_page):
    page = open_page()
    assert all(len(heading.split()) <= 3 for heading in headings(page))
    assert set(page.locator("#board thead small").all_inner_texts()) == {"% ↑"}


def test_a_cell_that_nobody_has_run_says_the_command_that_fills_it(open_page):
    page = open_page("index.html#size=100")
    cell = page.locator("#board tbody td.none").first
    assert cell.inner_text() == "not run"
    cell.locator("summary").click()
    model = cell.locator("xpath=..").locator("th a").inner_text()
    assert f"assay run --model {model} --task adversarial/invented-0" in cell.inner_text()


def test_a_row_names_who_submitted_and_its_tier(open_page):
    page = open_page()
    assert "submitted, by someone@example.org" in page.locator("#board tbody th").first.inner_text()


FITS = (
    "(() => { const box = document.querySelector('.scroll'); return box.scrollWidth <= box.clientWidth; })()"
)


@pytest.mark.parametrize(
    "name", ["index.html#track=invented", "index.html#track=other", "families/adversarial.html"]
)
def test_the_whole_table_is_in_sight_at_1280_pixels(open_page, name):
    page = open_page(name, viewport={"width": 1280, "height": 900})
    assert page.evaluate(FITS)


def test_an_overview_leaves_out_the_tasks_of_a_family_that_few_were_asked_where_there_is_no_room(
    chromium, tmp_path, monkeypatch
):
    """Nine tasks of one family: the one that few models were asked goes first, then the first of equals."""
    tasks = [f"adversarial/invented-{number:02d}" for number in range(9)]
    write_specs(tmp_path / "benchmarks", len(tasks))
    write_track(tmp_path / "benchmarks", tasks)
    use_specs(monkeypatch, tmp_path / "benchmarks")
    write_board(tmp_path / "leaderboard", 12)
    build_site(tmp_path / "leaderboard", tmp_path / "site")
    place = tmp_path / "site" / "data" / "overview.js"
    overview = json.loads(place.read_text().partition("]=")[2].rstrip().rstrip(";"))
    some = next(iter(overview["rows"].values()))
    filled = {task: some.get(task, next(iter(some.values()))) for task in tasks}
    for at, model in enumerate(sorted(overview["rows"])):
        few = {tasks[6]: filled[tasks[6]]} if at < 5 else {}
        overview["rows"][model] = {task: cell for task, cell in filled.items() if task != tasks[6]} | few
    place.write_text(f'(window.ASSAY??={{}})["overview"]={json.dumps(overview)};')
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.goto((tmp_path / "site" / "index.html").as_uri())
    page.wait_for_selector("html[data-ready='1']", state="attached")
    shown = [button.get_attribute("data-sort") for button in page.locator("#board thead button").all()]
    assert shown == ["model", *tasks[2:6], *tasks[7:]]
    assert page.evaluate(FITS)
    assert page.locator("th[aria-sort='descending']").inner_text().startswith("Adversarial invented-02")
    page.close()


def test_a_family_s_board_shows_what_there_is_room_for_and_the_rest_when_it_is_asked_for(open_page):
    page = open_page("families/adversarial.html")
    assert [button.get_attribute("data-sort") for button in page.locator("#board thead button").all()] == [
        "model", "worst:robust_accuracy@2/255", "clean_accuracy",
        *(f"worst:robust_accuracy@{eps}" for eps in ("1/255", "4/255", "8/255")), "fgsm:robust_accuracy@1/255",
    ]  # fmt: skip
    assert "23 columns switched off, see Columns" in page.inner_text("#count")
    page.click("#columns summary")
    page.locator("#columns label", has_text="pgd:robust accuracy@4/255").locator("input").check()
    assert page.locator("[data-sort='pgd:robust_accuracy@4/255']").count() == 1
    again = open_page("families/adversarial.html#" + page.url.partition("#")[2])
    assert headings(again) == headings(page)


def test_what_was_found_is_told_from_what_was_only_measured(open_page):
    """By a word above the column, and at each figure by a sign and a broken bar; clean accuracy has none of them."""
    page = open_page("families/adversarial.html")
    marks = [th.locator(".evidence").all_inner_texts() for th in page.locator("#board thead th").all()[2:4]]
    assert marks == [["found"], []]
    found, measured = page.locator("#board tbody tr").first.locator("td:not(.pick)").all()[:2]
    assert found.locator(".sign").inner_text() == "≤ "
    assert measured.locator(".sign").count() == 0
    look = "cell => getComputedStyle(cell.querySelector('.bar'), '::before').backgroundImage"
    assert "repeating" in found.evaluate(look)
    assert measured.evaluate(look) == "none"
    page = open_page(_COMPARED)
    page.wait_for_selector("#compare-table .evidence.found")
    assert page.locator("#compare-table td").first.inner_text().startswith("≤ ")


def test_a_family_s_board_begins_with_the_task_that_most_models_have_a_figure_of(open_page, site):
    page = open_page("families/adversarial.html")
    counts = [
        int(text.rpartition(": ")[2].split()[0]) for text in page.locator("#task option").all_inner_texts()
    ]
    assert counts == sorted(counts, reverse=True)
    assert page.input_value("#task") == page.locator("#task option").first.get_attribute("value")


def test_two_headlines_of_a_track_are_drawn_and_the_undominated_are_named(open_page):
    page = open_page()
    page.locator("#scatter").scroll_into_view_if_needed()
    page.wait_for_selector("#scatter .main-svg")
    said = page.inner_text("#scatter-says")
    assert "models have both figures" in said
    assert said in page.get_attribute("#scatter", "aria-label")
    page.select_option("#x", index=1)
    assert "x=adversarial" in page.url
    page.wait_for_function(f"document.querySelector('#scatter-says').textContent !== {json.dumps(said)}")


def test_a_model_is_undominated_when_no_other_is_as_good_in_both_and_better_in_one(open_page):
    page = open_page()
    found = page.evaluate("""() => {
        const cell = (value) => [value, null, null, 9];
        const points = [[1, 9], [2, 9], [3, 1], [2, 2], [3, 1]].map(([x, y]) => ({ x: cell(x), y: cell(y) }));
        const [up, down] = [{ better: "higher" }, { better: "lower" }];
        return [Scatter.undominated(points, up, up), Scatter.undominated(points, up, down)];
    }""")
    assert found == [[False, True, True, False, True], [False, False, True, False, True]]


def test_a_name_at_the_right_end_of_the_chart_stands_on_the_left(open_page):
    """Else it is cut off; neighbours stand by turns above and below."""
    page = open_page()
    found = page.evaluate(
        "Scatter.namedAt([[0, 1], [4, 2], [9, 3], [10, 4]].map(([x, y]) => ({ x: [x], y: [y] })))"
    )
    assert found == ["bottom right", "top right", "bottom left", "top left"]


def test_search_and_filters_say_what_they_hide(open_page):
    page = open_page()
    page.fill("#q", "invented-000")
    assert sorted(names(page)) == [f"invented-{number:04d}" for number in range(10)]
    assert f"{MODELS - 10} hidden by the search" in page.inner_text("#count")
    page.fill("#q", "")
    page.select_option("#tier", "re-run")
    assert names(page) == []
    assert f"{MODELS} hidden by the tier" in page.inner_text("#count")


def test_a_family_s_board_says_how_many_models_have_no_result(open_page):
    page = open_page("families/adversarial.html#size=100")
    hidden = MODELS - len(names(page))
    assert hidden > 0
    assert f"{hidden} hidden by the task, which they have no result of" in page.inner_text("#count")
    assert page.locator("#board tbody td.none").count() == 0


def test_columns_can_be_switched_off_and_the_page_says_so(open_page):
    page = open_page()
    page.click("#columns summary")
    page.get_by_label("paper", exact=True).uncheck()
    assert page.locator("[data-sort='paper']").count() == 0
    assert "paper" in page.inner_text("#count")


def test_a_link_keeps_the_whole_state(open_page):
    page = open_page("families/adversarial.html")
    page.select_option("#task", index=1)
    page.wait_for_function("document.querySelectorAll('#board thead th').length > 5")
    page.fill("#q", "invented-001")
    page.click("[data-sort='clean_accuracy']")
    for position in (0, 2):
        page.locator("#board tbody input").nth(position).check()
    page.click("#open-compare")
    page.wait_for_selector("#compare-table")
    again = open_page("families/adversarial.html#" + page.url.partition("#")[2])
    again.wait_for_selector("#compare-table")
    assert names(again) == names(page)
    assert again.input_value("#q") == "invented-001"
    assert again.input_value("#task") == page.input_value("#task")
    assert again.inner_text("#compare-table") == page.inner_text("#compare-table")


def test_two_to_four_models_side_by_side(open_page, site):
    page = open_page("families/adversarial.html")
    boxes = page.locator("#board tbody input")
    boxes.nth(0).check()
    assert page.locator("#open-compare").is_disabled()
    for position in (1, 2, 3):
        boxes.nth(position).check()
    assert boxes.nth(4).is_disabled()
    page.click("#open-compare")
    page.wait_for_selector("#compare .js-plotly-plot")
    assert page.locator("#compare-table thead th").count() == 5
    assert page.evaluate("document.activeElement.id") == "compare-title"


def test_charts_out_of_sight_wait_until_a_reader_comes(open_page):
    page = open_page("families/adversarial.html#compare=invented-0001&compare=invented-0002&open=1")
    page.wait_for_selector("#compare .chart")
    assert page.locator(".js-plotly-plot").count() == 0
    for chart in page.locator("#compare .chart").all():
        chart.scroll_into_view_if_needed()
        chart.locator(".main-svg").first.wait_for()


def test_every_figure_that_is_a_mean_over_units_is_tested_and_says_how(open_page):
    page = open_page("families/adversarial.html#compare=invented-0001&compare=invented-0002&open=1")
    page.wait_for_selector("#compare-table")
    lines = page.locator("#compare-table tbody tr").all_inner_texts()
    assert len(lines) == 26
    assert "A preview." in page.inner_text("#compare-body")
    command = "assay compare leaderboard/submissions/invented-0001 leaderboard/submissions/invented-0002"
    assert command in page.inner_text("#compare-body")
    assert all("to the first; McNemar, p " in line for line in lines)


def test_a_figure_that_is_no_mean_over_units_says_that_it_is_not_tested(open_page):
    page = open_page()
    found = page.evaluate("""() => {
        const columns = [{ label: "srvr", unit: "%", cell: () => [50, 40, 60, 9] }];
        const place = document.createElement("div");
        Compare.show(place, [{ id: "a", model: "a" }, { id: "b", model: "b" }], columns, () => undefined);
        return place.textContent;
    }""")
    assert "no test in this page" in found


def test_scores_of_both_kinds_are_read(open_page):
    page = open_page()
    assert page.evaluate('Statistics.paired("110-", "0101")') == {
        "test": "McNemar", "difference": pytest.approx(1 / 3), "p": 1, "n": 3, "onlyA": 1, "onlyB": 0,
    }  # fmt: skip
    assert page.evaluate("Statistics.paired([0.5, null, 0.25], [0.25, 1, 0.25])")["test"] == "sign flips"


def test_the_page_s_paired_test_is_the_command_line_s(open_page):
    from assay.common.statistics import mcnemar_p_value

    page = open_page()
    for only_a, only_b in ((0, 0), (5, 1), (12, 30), (700, 650)):
        found = page.evaluate(f"Statistics.mcnemar({only_a}, {only_b})")
        assert found == pytest.approx(mcnemar_p_value(only_a, only_b), rel=1e-9)


@pytest.mark.parametrize(
    "gaps",
    [[0.3, -0.1, 0.25, 0.4, 0.2], [0.0, 0.0], [0.5], [(-1) ** k / (k + 2) + 0.05 for k in range(13)]],
)
def test_the_page_s_sign_flips_are_the_command_line_s(open_page, gaps):
    import numpy as np

    from assay.common.statistics import sign_flip_p_value

    found = open_page().evaluate(f"Statistics.paired({gaps}, {[0.0] * len(gaps)})")["p"]
    assert found == pytest.approx(sign_flip_p_value(np.array(gaps)))


def test_the_page_draws_as_many_signs_of_many_units_as_the_command_line(open_page):
    import numpy as np

    from assay.common.statistics import sign_flip_p_value

    gaps = np.random.default_rng(0).normal(0.1, 1, 200)
    found = open_page().evaluate(f"Statistics.paired({gaps.tolist()}, {[0.0] * 200})")["p"]
    assert found == pytest.approx(sign_flip_p_value(gaps), abs=0.025)  # four standard errors of 10,000 draws


def test_a_p_value_is_written_as_on_the_command_line(open_page):
    from assay.board.compare import p_text

    page = open_page()
    for p_value in (0.0004, 0.001, 0.0314, 0.5, 1):
        shown = page.evaluate(f"Compare.pText({p_value})")
        assert shown.replace("p = ", "").replace("p ", "") == p_text(p_value)


def test_downloads(open_page, site):
    page = open_page()
    page.fill("#q", "invented-000")
    page.click("text=Downloads")
    with page.expect_download() as waiting:
        page.click("#csv")
    rows = list(csv.reader(Path(waiting.value.path()).read_text().splitlines()))
    assert len(rows) == 11
    assert {row[0] for row in rows[1:]} == set(names(page))
    assert len(json.loads((site / "leaderboard.json").read_text())["models"]) == MODELS
    for link in page.locator(".links a").all():
        assert (site / link.get_attribute("href")).is_file()


def test_the_keyboard_is_enough(open_page):
    page = open_page()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("invented-003")
    page.locator("[data-sort='model']").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.sort") == "model"
    page.locator("#board tbody input").first.focus()
    page.keyboard.press("Space")
    page.locator("#board tbody input").nth(1).focus()
    page.keyboard.press("Space")
    page.locator("#open-compare").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#compare-table")
    page.locator("#columns summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    assert page.locator("#columns[open]").count() == 0


def test_dark_mode_follows_the_system_and_the_button(open_page):
    page = open_page(color_scheme="dark")
    background = "getComputedStyle(document.body).backgroundColor"
    dark = page.evaluate(background)
    page.click("#theme")
    light = page.evaluate(background)
    assert (dark, light) == ("rgb(16, 21, 27)", "rgb(255, 255, 255)")
    page.reload()
    assert page.evaluate(background) == light


@pytest.mark.parametrize("name", ["index.html", "families/adversarial.html", "models/invented-0001.html"])
def test_a_phone_scrolls_the_table_and_not_the_page(open_page, name):
    page = open_page(name, viewport={"width": 390, "height": 844}, is_mobile=True, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("main h1").is_visible()


def test_on_a_phone_the_model_stays_in_sight_while_its_figures_scroll(open_page):
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    page = open_page("families/adversarial.html", **phone)
    left = "document.querySelector('#board tbody th').getBoundingClientRect().left"
    box = "document.querySelector('.scroll')"
    page.evaluate(f"{box}.scrollLeft = 10000")
    assert page.evaluate(f"{box}.scrollLeft") > 0
    assert page.evaluate(f"{left} - {box}.getBoundingClientRect().left") == pytest.approx(1, abs=1)


_COMPARED = "families/adversarial.html#compare=invented-0001&compare=invented-0002&open=1"


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("index.html", "light"),
        ("index.html", "dark"),
        (_COMPARED, "light"),
        (_COMPARED, "dark"),
        ("models/invented-0001.html", "light"),
        ("tasks/adversarial/invented-00.html", "light"),
        ("papers/index.html", "light"),
    ],
)
def test_axe_finds_nothing_serious(open_page, name, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing"
    )
    page = open_page(name, color_scheme=scheme)
    if "compare" in name:
        page.locator("#compare .chart").first.scroll_into_view_if_needed()
        page.wait_for_selector("#compare .js-plotly-plot")
    found = axe.Axe().run(page, options={"preload": False}).response["violations"]
    assert [(item["id"], item["nodes"][0]["html"]) for item in found if item["impact"] in SERIOUS] == []


def unfold(page):
    """Open all of a run's page."""
    page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    page.wait_for_selector("#metrics tbody tr")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_the_page_of_a_run(chromium, tmp_path, scheme):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="axe-playwright-python is missing"
    )
    guard = Guard(name="inside_the_ball", passed=False, value=1.0, limit=0.5, detail="too far")
    chart = '{"data": [{"type": "scatter", "x": [0, 1], "y": [0.5, 0.25], "name": "fgsm"}], "layout": {}}'
    pictures = [Figure("c", "Accuracy under attack", "over eps", "plotly", chart)]
    (tmp_path / "run.html").write_text(run_page([result(guards=(guard,))], {("m", "t"): pictures}))
    context = chromium.new_context(color_scheme=scheme)
    page = context.new_page()
    complaints = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto((tmp_path / "run.html").as_uri())
    unfold(page)
    found = axe.Axe().run(page, options={"preload": False}).response["violations"]
    assert [(item["id"], item["nodes"][0]["html"]) for item in found if item["impact"] in SERIOUS] == []
    assert complaints == []
    context.close()


def test_without_scripts_the_reader_is_told_where_the_figures_are(chromium, site):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((site / "index.html").as_uri())
    assert page.locator("noscript a").get_attribute("href") == "leaderboard.csv"
    context.close()


OWN = "document.title='owned'"
EDGE = (
    f'<img src=x onerror="{OWN}">', f'"><script>{OWN}</script>', f"'; {OWN}; '", f"</script><script>{OWN}</script>",
    f"javascript:{OWN}", "{{7*7}}${7*7}`", "\u2028\u202egnp",
)  # fmt: skip


def test_edge_case_strings_run_nothing_in_any_page_of_the_site(chromium, tmp_path):
    """The gate refuses such strings; here they stand behind it, so that the pages have to hold by themselves."""
    write_specs(tmp_path / "benchmarks", 1)
    with pytest.MonkeyPatch.context() as patch:
        use_specs(patch, tmp_path / "benchmarks")
        write_board(tmp_path / "leaderboard", 2)
        for submission in (tmp_path / "leaderboard" / "submissions").iterdir():
            for path in [*submission.glob("results/*/*.json"), *submission.glob("provenance/*/*.json")]:
                document = json.loads(path.read_text())
                for place, text in zip(("title", "reason", "command", "device"), EDGE, strict=False):
                    document[place] = text
                for place, text in zip(("architecture", "source", "licence"), EDGE[3:], strict=False):
                    document.get("model", {})[place] = text
                for metric in document.get("metrics", ())[:4]:
                    metric["series"] = EDGE[0] if metric["series"] else None
                rewrite(submission, {path.relative_to(submission).as_posix(): json.dumps(document).encode()})
        report = build_site(tmp_path / "leaderboard", tmp_path / "site")
    assert report.models == 2
    pages = sorted((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 6
    context = chromium.new_context()
    page = context.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    for path in pages:
        assert "Content-Security-Policy" in path.read_text()
        page.goto(path.as_uri())
        page.wait_for_timeout(100)
        assert page.title() != "owned", path
        assert page.locator("img[src='x']").count() == 0, path
    assert [url for url in requests if not url.startswith((tmp_path.as_uri(), "data:", "blob:"))] == []
    context.close()


def test_a_run_s_page_asks_for_nothing_that_its_policy_refuses(chromium, tmp_path):
    metrics = [Metric(name=f"m{value}", value=value, n=4, unit="s") for value in (10.5, 9.25, 100.0)]
    (tmp_path / "run.html").write_text(
        run_page([result().model_copy(update={"metrics": tuple(metrics)})], {})
    )
    context = chromium.new_context()
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((tmp_path / "run.html").as_uri())
    unfold(page)
    assert page.locator("#metrics tbody tr td:nth-child(4)").all_inner_texts() == ["10.5", "9.25", "100"]
    assert complaints == []
    context.close()


CHART = '{"data": [{"type": "scatter", "x": [0, 1], "y": [0.5, 0.25]}], "layout": {}}'


@pytest.mark.parametrize("width", [1280, 390])
def test_a_run_s_page_is_short_until_a_family_is_unfolded(chromium, tmp_path, width):
    """The card and one picture a family; the others are drawn when their family is unfolded."""
    figures = [Figure(f"c{number}", f"Picture {number}", "seen", "plotly", CHART) for number in range(9)]
    results = [result(name=name, family=name_) for name in ("m", "o") for name_ in ("adversarial", "srvr")]
    (tmp_path / "run.html").write_text(run_page(results, {("m", "t"): figures, ("o", "t"): figures}))
    context = chromium.new_context(viewport={"width": width, "height": 844})
    page = context.new_page()
    page.goto((tmp_path / "run.html").as_uri())
    page.wait_for_selector(".chart .main-svg")
    assert page.evaluate("document.documentElement.scrollHeight") < 6000
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator(".js-plotly-plot").count() == 2
    page.click(".contents a[href='#srvr']")
    page.wait_for_selector("#srvr[open] .js-plotly-plot >> nth=8")
    assert page.locator("#adversarial[open]").count() == 0
    assert page.locator("#srvr .js-plotly-plot").count() == 17
    page.wait_for_selector(".contents a[href='#srvr'][aria-current]")
    context.close()


def test_a_run_s_page_runs_our_scripts_and_no_other(chromium, tmp_path):
    """Even a string that became markup by a mistake of ours would not run: its script is not ours by hash."""
    line = {"type": "scatter", "x": [0, 1], "y": [1, 0], "name": EDGE[0]}
    chart = json.dumps({"data": [line], "layout": {"title": {"text": EDGE[1]}}})
    pictures = {("m", "t"): [Figure("c", EDGE[0], EDGE[1], "plotly", chart.replace("<", "\\u003c"))]}
    text = run_page([result(reason=EDGE[3])], pictures)
    planted = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    (tmp_path / "run.html").write_text(text.replace("<body>", f"<body>{planted}"))
    context = chromium.new_context()
    page = context.new_page()
    complaints = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((tmp_path / "run.html").as_uri())
    page.wait_for_selector(".chart .main-svg")
    unfold(page)
    assert page.title() == "Assay: results of a run"
    refused = [text for text in complaints if "Content Security Policy" in text]
    planted = ("Executing inline script", "Executing inline event handler", "Loading the image")
    assert all(text.startswith(planted) for text in refused), refused  # what was planted, and nothing of ours
    context.close()
