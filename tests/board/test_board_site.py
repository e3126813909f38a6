"""The site and the CSV files: nothing hidden without a reason, stable, only what changed is written, nothing runs."""

import csv
import gzip
import json
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from board_place import RANK_BY, RECORDS, TASK, as_before, edit_result, rewrite, use_specs

from assay.board.headings import column_headings, family_title, in_a_sentence
from assay.board.html import breakable
from assay.board.site import build
from assay.board.site.boards import BoardRow, TaskBoard
from assay.board.site.build import build_site
from assay.board.site.documents import cell, curve_tables, headline, provenance_rows, singles
from assay.board.site.models import least_tier
from assay.board.site.overview import ShownTrack
from assay.board.site.pages import data_script, script_json
from assay.board.submissions.check import Board
from assay.board.submissions.register import AdmittedTask, read_register
from assay.common.children import ChildLostError
from assay.common.errors import UserError
from assay.tasks.verification.spec import RELATIVE_SUP_FOUND, WITHIN_QUARTER_SEEN


@pytest.fixture
def built(place, tmp_path):
    return build_site(place.board, tmp_path / "site"), place.board, tmp_path / "site"


def test_every_kind_of_page_is_there(built):
    report, _, site = built
    assert (report.models, report.rendered, report.hidden) == (2, 2, ())
    for name in (
        "index.html", "families/adversarial.html", "models/digits-linear.html", f"tasks/{TASK}.html",
        "papers/index.html", "leaderboard.csv", "results_long.csv", "leaderboard.json",
    ):  # fmt: skip
        assert (site / name).is_file(), name


def test_every_local_link_leads_somewhere(built):
    _, _, site = built
    for page in site.rglob("*.html"):
        for link in re.findall(r'(?:href|src)="([^"#]+)', page.read_text()):
            if not link.startswith(("http", "data:")):
                assert (page.parent / link).resolve().is_file(), f"{page}: {link}"


def test_the_site_without_data_is_small(built):
    _, _, site = built
    size = sum(
        path.stat().st_size for path in site.rglob("*") if path.is_file() and path.parent.name != "data"
    )
    assert size < 6_000_000


def test_building_again_writes_the_same_bytes_and_renders_nothing(built):
    _, board, site = built
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (site / "models").iterdir()}
    tables = [(board / name).read_bytes() for name in ("leaderboard.csv", "results_long.csv")]
    assert build_site(board, site).rendered == 0
    assert before == {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (site / "models").iterdir()
    }
    assert tables == [(board / name).read_bytes() for name in ("leaderboard.csv", "results_long.csv")]


def test_several_processes_write_the_same_site(built, tmp_path, monkeypatch):
    report, board, site = built
    monkeypatch.setattr(build, "_MODELS_A_PROCESS", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert build_site(board, tmp_path / "again") == report
    for path in site.rglob("*"):
        if path.is_file():
            assert (tmp_path / "again" / path.relative_to(site)).read_bytes() == path.read_bytes(), path


def test_a_page_whose_writer_died_is_named(place, tmp_path, monkeypatch):
    def died(*_):
        error = ChildLostError("its worker process was killed by SIGKILL")
        error.item = "digits-linear"
        raise error
        yield

    monkeypatch.setattr(build, "_MODELS_A_PROCESS", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    monkeypatch.setattr(build, "made_by_children", died)
    with pytest.raises(UserError, match=r"digits-linear.*SIGKILL"):
        build_site(place.board, tmp_path / "site")
    assert not (place.board / "results_long.csv").exists()


def test_one_changed_submission_is_one_page(built, place):
    _, board, site = built
    text = (place.submission / "metadata.yaml").read_text().replace("Apache-2.0", "MIT")
    rewrite(place.submission, {"metadata.yaml": text.encode()})
    assert build_site(board, site).rendered == 1
    assert "MIT" in (site / "models" / "digits-linear.html").read_text()


def test_a_withdrawn_submission_leaves_nothing(built, place):
    _, board, site = built
    shutil.rmtree(place.submission)
    assert build_site(board, site).models == 1
    assert not list(site.rglob("*digits-linear*"))


def test_a_result_of_an_older_spec_is_named_with_the_reason(built, place):
    _, board, site = built
    edit_result(place.submission, lambda document: document.update(spec_sha256="1" * 64))
    report = build_site(board, site)
    assert report.models == 1
    assert report.hidden == ((f"digits-linear · {TASK}", report.hidden[0][1]),)
    assert "spec has changed" in (site / "index.html").read_text()


def test_a_damaged_submission_is_named_and_the_others_are_shown(built, place):
    _, board, site = built
    (place.submission / "manifest.json").write_text("{")
    report = build_site(board, site)
    assert report.models == 1
    assert report.hidden[0][0] == "digits-linear"


def test_the_wide_table_has_a_row_a_model_and_no_place_for_what_is_only_submitted(built):
    _, board, _ = built
    rows = list(csv.DictReader((board / "leaderboard.csv").open()))
    assert [row["model"] for row in rows] == ["digits-blurred", "digits-linear"]
    assert all((row[f"{TASK} places"], row[f"{TASK} tier"]) == ("", "submitted") for row in rows)
    assert all(0 <= float(row[f"{TASK} {RANK_BY}"]) <= 1 for row in rows)


def board_of(place):
    return TaskBoard(TASK, "t", "adversarial", read_register(place.board).tasks[TASK], RANK_BY)


def described(name, direction="up"):
    return {
        "name": name, "unit": "proportion", "series": None, "x": None, "x_label": None,
        "title": name, "direction": direction,
    }  # fmt: skip


def test_a_model_that_stands_alone_has_no_place(place):
    board = board_of(place)
    board.add("a", BoardRow([described(RANK_BY)], [[0.5, 0.4, 0.6, 9]], "re-run"))
    board.add("forged", BoardRow([described(RANK_BY)], [[0.9, 0.9, 0.9, 9]], "submitted"))
    assert [cell[4:] for cell in board.ranked().values()] == [[None, None], [None, None]]


def test_figures_of_two_versions_stand_in_their_own_columns(place):
    """A result of before may lack the headline, or have the figures in another order."""
    board = board_of(place)
    board.add("old", BoardRow([described("a"), described("b")], [[1, 1, 1, 9], [2, 2, 2, 9]], "re-run"))
    board.add("new", BoardRow([described("b"), described(RANK_BY)], [[3, 3, 3, 9], [4, 4, 4, 9]], "re-run"))
    assert [metric["name"] for metric in board.metrics] == ["a", "b", RANK_BY]
    rows = board.document()["rows"]
    assert [[cell[0] for cell in rows[name]] for name in ("old", "new")] == [[1, 2, None], [None, 3, 4]]
    assert {name: cell[0] for name, cell in board.ranked().items()} == {"old": None, "new": 4}


def test_the_direction_is_that_of_the_headline(place):
    board = board_of(place)
    for name, value in (("a", 0.5), ("b", 0.3)):
        board.add(name, BoardRow([described(RANK_BY, "down")], [[value] * 3 + [9]], "re-run"))
    assert [cell[4:] for cell in board.ranked().values()] == [[2, 2], [1, 1]]


def test_places_are_given_among_what_the_maintainers_computed(place, tmp_path):
    """A third of the models is only submitted: the others have the places that they would have without those."""
    board = board_of(place)
    metric = [described(RANK_BY)]
    for name, value, tier in (("a", 0.5, "re-run"), ("forged", 0.9, "submitted"), ("b", 0.3, "re-scored")):
        board.add(name, BoardRow(metric, [[value, value, value, 9]], tier))
    assert {name: list(cell[4:]) for name, cell in board.ranked().items()} == {
        "a": [1, 1], "b": [2, 2], "forged": [None, None],
    }  # fmt: skip


def test_the_long_table_has_every_figure_in_full(built, place):
    _, board, _ = built
    rows = list(csv.DictReader((board / "results_long.csv").open()))
    result = json.loads((place.submission / f"results/{TASK}.json").read_text())
    own = {row["metric"]: row for row in rows if row["model"] == "digits-linear"}
    assert {name: float(row["value"]) if row["value"] else None for name, row in own.items()} == {
        metric["name"]: metric["value"] for metric in result["metrics"]
    }


ODD_AUTHORS = (
    b"\xff\xfe <\xff> 1700000000 +0000", b" <> 9999999999999999 +0000", b"no mail at all",
    b"A\x01\x02\x1b[31m <a@b> 1700000000 +9900", b"<script>alert(1)</script> <x> -5 +0000",
)  # fmt: skip


def test_a_history_that_is_not_utf_8_and_has_odd_authors_is_read(place, tmp_path):
    """Git itself writes no such commits; who makes them by hand gets no traceback into the site."""
    repository = place.board.parent
    odd = place.board / "submissions" / "digits-linear" / "note\udcff\n.txt"
    odd.write_bytes(b"x")
    raw = ["hash-object", "-t", "commit", "-w", "--stdin", "--literally"]
    for command in (["init", "-q"], ["add", "leaderboard"]):
        subprocess.run(["git", "-C", repository, *command], check=True)
    odd.unlink()  # it stays in the history; in the folder it would hide the submission
    link = ["update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},leaderboard/submissions/a-git-link"]
    subprocess.run(["git", "-C", repository, *link], check=True)
    tree = subprocess.check_output(["git", "-C", repository, "write-tree"], text=True).strip()
    for author in ODD_AUTHORS:
        text = b"tree %s\nauthor %s\ncommitter %s\n\n\xffsubject\x02\n" % (tree.encode(), author, author)
        made = subprocess.run(["git", "-C", repository, *raw], input=text, check=True, capture_output=True)
        subprocess.run(["git", "-C", repository, "update-ref", "HEAD", made.stdout.strip()], check=True)
        (place.board / "submissions" / "a-git-link").mkdir(exist_ok=True)
        report = build_site(place.board, tmp_path / "site")
        assert report.models == 2
        assert [name for name, _ in report.hidden] == ["a-git-link"]
        models = json.loads((tmp_path / "site" / "leaderboard.json").read_text())["models"]
        assert all((model["who"] or "").isprintable() for model in models)
        page = (tmp_path / "site" / "models" / "digits-linear.html").read_text()
        assert "<script>alert" not in page
        assert "\x1b" not in page


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a file's name has to be text")
@pytest.mark.parametrize("name", ["no\udcfftext", "\x1b[2J\u202egnp", "<script>alert(1)"])
def test_a_folder_with_an_odd_name_is_left_out_with_its_name_escaped(place, tmp_path, name):
    folder = place.board / "submissions" / name
    shutil.copytree(place.submission, folder)
    report = build_site(place.board, tmp_path / "site", Board(read_register(place.board)))
    assert report.models == 2
    (hidden,) = [shown for shown, _ in report.hidden if shown not in ("digits-linear", "digits-blurred")]
    assert hidden.isprintable()
    assert all("<script>alert" not in page.read_text() for page in (tmp_path / "site").rglob("*.html"))


def test_the_metadata_say_who_and_the_commit_says_when(place, tmp_path):
    repository = place.board.parent
    author = ["-c", "user.name=A. Maintainer", "-c", "user.email=m@example.org"]
    for command in (["init", "-q"], ["add", "leaderboard"], [*author, "commit", "-qm", "submit"]):
        subprocess.run(["git", "-C", str(repository), *command], check=True)
    build_site(place.board, tmp_path / "site")
    models = json.loads((tmp_path / "site" / "leaderboard.json").read_text())["models"]
    assert {model["who"] for model in models} == {"someone@example.org"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", models[0]["when"])


def test_a_task_that_does_not_apply_is_shown_with_its_reason(place, tmp_path):
    def inapplicable(document):
        document.update(status="not_applicable", reason="labels differ", metrics=[], guards=[])

    edit_result(place.submission, inapplicable)
    build_site(place.board, tmp_path / "site")
    overview = json.loads((tmp_path / "site" / "leaderboard.json").read_text())
    assert overview["rows"]["digits-linear"][TASK] == "labels differ"
    assert "digits-linear" in (tmp_path / "site" / "leaderboard.csv").read_text()


def test_what_slipped_past_the_gate_still_runs_nowhere(place, tmp_path):
    evil = "</script><script>alert(1)</script>"
    edit_result(place.submission, lambda document: document["model"].update(architecture=evil))
    about = yaml.safe_load((place.submission / "metadata.yaml").read_text())
    build_site(place.board, tmp_path / "site")
    assert about["name"] in (tmp_path / "site" / "data" / "models.js").read_text()
    for path in tmp_path.joinpath("site").rglob("*"):
        if path.suffix in {".html", ".js"} and "plotly" not in path.name:
            assert "<script>alert" not in path.read_text(), path


def test_data_scripts_cannot_end_a_script_or_break_a_line():
    text = data_script("k", {"a": "</script>\u2028\u2029"})
    assert "<" not in text
    assert len(text.splitlines()) == 1
    assert json.loads(script_json({"a": "</script>\u2028"})) == {"a": "</script>\u2028"}


def test_figures_are_written_as_a_reader_reads_them():
    metric = {"name": "m@1/10", "value": 0.5, "ci_low": 0.25, "ci_high": 0.75, "unit": "proportion", "n": 4,
              "series": "s", "x": 0.1, "x_label": "eps"}  # fmt: skip
    assert cell(metric) == "50.0 % (25.0 to 75.0)"
    assert cell(metric | {"unit": "s", "ci_low": None}) == "0.5"
    assert cell(metric | {"value": None}) == "–"
    (table,) = curve_tables([metric])
    assert table["points"] == ["1/10"]
    assert table["rows"] == [("s", 4, "<td>50.0 % (25.0 to 75.0)</td>")]


def test_provenance_is_read_aloud_and_never_as_python_writes_it(built):
    document = {
        "job_key": "k", "written_utc": "2026-01-01", "used": {"chunks": 3, "wall_seconds": 1.5},
        "environments": {
            "a": {"packages": {"torch": "2", "ray": None}, "cuda": None, "tf32": False, "threads": 1},
            "b": {"commit": {"sha": "12", "dirty": True}, "devices": ["x", "y"]},
        },
    }  # fmt: skip
    assert provenance_rows(document) == [
        ("packages, machine 1", "torch 2"), ("tf32, machine 1", "no"), ("threads, machine 1", "1"),
        ("commit, machine 2", "sha 12, dirty yes"), ("devices, machine 2", "x, y"),
        ("written utc", "2026-01-01"), ("used", "chunks 3, wall seconds 1.5"),
    ]  # fmt: skip
    assert provenance_rows({"environments": {"a": 7}, "used": None}) == [("machine", "7")]
    assert provenance_rows({"environments": [], "x": {}}) == [("x", "")]
    _, _, site = built
    page = (site / "models" / "digits-linear.html").read_text()
    assert re.search(r"<dt>packages</dt><dd>assay [\d.]+, torch ", page)
    assert "{&#39;" not in page


def test_a_long_name_can_be_broken_and_is_still_escaped():
    assert breakable("fgsm:robust_accuracy@4/255") == "fgsm:<wbr>robust_<wbr>accuracy@<wbr>4/255"
    assert breakable("<b>:x") == "&lt;b&gt;:<wbr>x"


@pytest.mark.parametrize(("name", "title"), [("adversarial", "Adversarial"), ("srvr", "SRVR")])
def test_a_family_has_a_title(name, title):
    assert family_title(name) == title


def test_a_column_is_called_by_its_family_and_by_its_task_where_there_are_two():
    tasks = [("srvr/embedded", "srvr"), ("adversarial/a", "adversarial"), ("adversarial/b", "adversarial")]
    assert list(column_headings(tasks).values()) == ["SRVR", "Adversarial a", "Adversarial b"]
    assert column_headings(tasks[:1], with_names=True) == {"srvr/embedded": "SRVR embedded"}


@pytest.mark.parametrize(
    ("title", "said"),
    [
        ("Mean eps withstood", "mean eps withstood"),
        (
            "CR (label kept) found broken, brightness + patch",
            "CR (label kept) found broken (brightness + patch)",
        ),
        ("At least: change of the attention found, median", "change of the attention found (median)"),
    ],
)
def test_a_title_reads_well_within_a_sentence(title, said):
    assert in_a_sentence(title) == said


def test_a_model_s_figures_are_called_by_their_titles_and_keep_their_keys():
    metric = {"name": "k:r", "value": 0.5, "ci_low": None, "ci_high": None, "unit": "proportion", "n": 4,
              "series": None, "x": None, "x_label": None, "title": "Proved", "direction": "up"}  # fmt: skip
    shown = {"title": "Proved", "key": "k:r", "cell": "50.0 %", "n": 4, "note": "% ↑", "evidence": ""}
    result = {"status": "complete", "reason": None, "family": "corruptions", "metrics": [metric]}
    assert singles(result) == [shown]
    old = {name: value for name, value in metric.items() if name not in ("title", "direction")}
    assert singles({**result, "metrics": [old]}) == [shown | {"title": "k:r", "note": "%"}]
    assert headline(result, "k:r") == shown
    assert headline(result, "other")["cell"] == "–"
    assert headline({"status": "not_applicable", "reason": "no", "metrics": []}, "k:r")["cell"] == "n/a: no"


def test_a_model_s_page_tells_what_was_found_from_what_was_proved():
    """An attack leaves at most so many right; a searched change of the attention is at least so large."""
    metric = {"name": "pgd:robust_accuracy@1/10", "value": 0.5, "ci_low": 0.25, "ci_high": 0.75, "unit": "proportion",
              "n": 4, "series": None, "x": None, "x_label": None, "title": "T", "direction": "up"}  # fmt: skip
    proved = metric | {"name": "certified_accuracy@1/10"}
    attacked = {"status": "complete", "reason": None, "family": "adversarial", "metrics": [metric, proved]}
    assert [(one["cell"], one["evidence"]) for one in singles(attacked)] == [
        ("≤ 50.0 % (25.0 to 75.0)", "found"),
        ("50.0 % (25.0 to 75.0)", "proved"),
    ]
    found = metric | {"name": "c:median_relative_sup_found", "unit": "ratio", "direction": "down"}
    searched = {**attacked, "family": "verification", "metrics": [found]}
    assert headline(searched, found["name"])["cell"] == "≥ 0.5 (0.25 to 0.75)"


def test_the_overview_has_the_track_of_the_models_label_space(built, benchmarks, monkeypatch, tmp_path):
    """Its tasks are the columns; a task of no track stands in the last table; a column needs a figure."""
    _, board, site = built
    overview = json.loads((site / "leaderboard.json").read_text())
    assert [(track["id"], track["headings"]) for track in overview["tracks"]] == [
        ("other", {TASK: "Adversarial digits"})
    ]
    other = tmp_path / "benchmarks"
    shutil.copytree(benchmarks, other)
    (other / "tracks").mkdir()
    track = {
        "schema": 1, "title": "Digits", "description": "d", "label_space": "digits", "default_model": "m",
        "embedded": {"tasks": [TASK], "without": {"srvr": "no shapes"}},
        "medium": {"tasks": [TASK]}, "full": {"tasks": [TASK]},
    }  # fmt: skip
    (other / "tracks" / "digits.yaml").write_text(yaml.safe_dump(track))
    use_specs(monkeypatch, other)
    build_site(board, tmp_path / "again")
    overview = json.loads((tmp_path / "again" / "leaderboard.json").read_text())
    assert [(track["id"], track["headings"]) for track in overview["tracks"]] == [
        ("digits", {TASK: "Adversarial"})
    ]
    assert overview["tracks"][0]["models"] == ["digits-blurred", "digits-linear"]
    assert "n/a: no shapes" in (tmp_path / "again" / "index.html").read_text()


def test_a_result_that_does_not_apply_lowers_no_tier(place, tmp_path):
    """The row's tier is the least of those of its figures."""
    tiers = {"a": "re-run", "b": "submitted"}
    assert (
        least_tier(tiers, [{"task": "a", "status": "complete"}, {"task": "b", "status": "not_applicable"}])
        == "re-run"
    )
    assert least_tier(tiers, [{"task": "b", "status": "not_applicable"}]) == "submitted"


def test_a_result_of_before_headlines_is_ranked_by_what_its_records_give(place, tmp_path):
    stated = json.loads((place.submission / f"results/{TASK}.json").read_text())
    expected = next(metric for metric in stated["metrics"] if metric["name"] == RANK_BY)
    edit_result(place.submission, lambda document: document["metrics"].remove(expected))
    build_site(place.board, tmp_path / "site")
    cell = json.loads((tmp_path / "site" / "leaderboard.json").read_text())["rows"]["digits-linear"][TASK]
    assert cell[0] == pytest.approx(expected["value"], rel=1e-5)


def test_a_result_of_before_whose_records_give_no_headline_stays_without_one(place, tmp_path):
    edit_result(place.submission, lambda document: document["metrics"].clear())
    rewrite(
        place.submission, {RECORDS: gzip.compress(b'{"unit_id":"u","values":{},"error":null}\n', mtime=0)}
    )
    assert build_site(place.board, tmp_path / "site").models == 2
    cell = json.loads((tmp_path / "site" / "leaderboard.json").read_text())["rows"]["digits-linear"][TASK]
    assert cell[0] is None
    page = (tmp_path / "site" / "models" / "digits-linear.html").read_text()
    assert "No pictures: its records, made by another version, cannot be drawn by this one" in page


def test_the_overview_tells_what_was_proved_from_what_was_looked_for():
    """The card's sentence stands on the board too, of a task that is searched as of one that is proved."""
    admitted = AdmittedTask(data_sha256="0" * 64, units=1, unit_ids_sha256="0" * 64, rank_by="r")
    names = ("attention_within_quarter", WITHIN_QUARTER_SEEN, RELATIVE_SUP_FOUND)
    boards = [
        TaskBoard(name, "t", "verification", admitted, f"brightness:{name}", [{"name": f"brightness:{name}"}])
        for name in names
    ]
    shown = ShownTrack("digits", "t", "d", boards, [], [], {})
    proved, share, largest = (shown.meanings[name] for name in names)
    assert "provably" in proved
    assert share.startswith("the share of the changes that were tried")
    assert largest.startswith("how far what the network looks at was moved")
    assert "Nothing is proved" in share
    assert "Nothing is proved" in largest


def test_a_track_names_the_families_that_no_model_has_a_figure_of_with_a_task_of_each():
    admitted = AdmittedTask(data_sha256="0" * 64, units=1, unit_ids_sha256="0" * 64, rank_by="r")
    tasks = ("srvr/a", "adversarial/a", "adversarial/b", "verification/a", "srvr/b")
    first, *others = (TaskBoard(task, "t", task.partition("/")[0], admitted, "r") for task in tasks)
    track = ShownTrack("imagenet", "t", "d", [first], others, [], {})
    assert list(track.missing.items()) == [
        ("adversarial", "adversarial/a"),
        ("verification", "verification/a"),
    ]


def test_a_submission_of_before_gives_the_same_pages_as_one_without_what_follows(place, tmp_path):
    """Outcomes and pictures are computed where a submission does not bring them, and are the same."""
    build_site(place.board, tmp_path / "now")
    for folder in (place.board / "submissions").iterdir():
        as_before(folder)
    build_site(place.board, tmp_path / "before")
    now, before = (
        {path.relative_to(root).as_posix(): path.read_bytes() for path in (root / "data").rglob("*.js")}
        for root in (tmp_path / "now", tmp_path / "before")
    )
    assert now == before
    assert any(name.startswith("data/figures/") for name in now)
    assert b'"worst:robust_accuracy@1/20"' in now["data/units/digits-linear.js"]
