"""The site's pages, rendered from the templates; the tables fill themselves from the data scripts beside them."""

import hashlib
import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pydantic_core import to_json

from assay.board.headings import family_title
from assay.board.html import environment, inside_a_script
from assay.board.site.boards import AdmittedSpec, TaskBoard
from assay.board.site.documents import curve_tables, guard_rows, headline, provenance_rows, singles
from assay.board.site.entries import Entry, Result
from assay.board.site.front import front_sentences
from assay.board.site.history import history
from assay.board.site.overview import ShownTrack
from assay.board.site.studies import studies
from assay.board.together import chart_of_models
from assay.common.version import VERSION
from assay.results.document import DataCard
from assay.tasks.base import Figure
from assay.tasks.families import family

_HERE = Path(__file__).resolve().parents[1]
_TEMPLATES = _HERE / "templates" / "site"
_ASSETS = _HERE / "assets"


def script_json(value: Any) -> str:
    """JSON that can stand inside a script element: no ``<`` outside an escape."""
    return inside_a_script(to_json(value).decode())


def data_script(key: str, value: Any) -> str:
    """A script that hands ``value`` to the page; pages that are opened as files can load nothing else."""
    return f"(window.ASSAY??={{}})[{json.dumps(key)}]={script_json(value)};\n"


class PagePictures(NamedTuple):
    """The pictures of one result as a page shows them, and why there are none where they cannot be drawn."""

    shown: Sequence[Mapping[str, Any]]
    lost: str


class Pages:
    """Renders pages; knows the site's layout, but not submissions' files."""

    def __init__(self) -> None:
        self._environment = environment(_TEMPLATES)
        self._environment.globals["version"] = VERSION
        self._environment.filters["family_title"] = family_title

    @cached_property
    def version(self) -> str:
        """Changes whenever a model's page would be rendered differently."""
        digest = hashlib.sha256(VERSION.encode())
        code = (
            _HERE.glob("*.py"),
            Path(__file__).parent.glob("*.py"),
            (_HERE.parent / "tasks").rglob("*.py"),
        )
        for path in (*sorted(_TEMPLATES.iterdir()), *(path for paths in code for path in sorted(paths))):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def copy_assets(self, folder: Path) -> None:
        """The style, the scripts and Plotly, so that the site needs no network."""
        from plotly.offline import get_plotlyjs

        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(_ASSETS.iterdir()):
            (folder / path.name).write_bytes(path.read_bytes())
        (folder / "plotly.min.js").write_text(get_plotlyjs(), encoding="utf-8")

    def model(
        self,
        entry: Entry,
        about: Mapping[str, Any],
        results: Sequence[Result],
        pictures: Mapping[str, PagePictures],
        headlines: Mapping[str, str],
    ) -> str:
        """A model's page: its headlines (their keys by task), every result, pictures, guards, provenance, command."""
        sections = [
            {
                "result": result,
                "headline": headline(result, headlines[result["task"]]),
                "singles": singles(result),
                "guards": guard_rows(result["guards"]),
                "remarks": DataCard.model_validate(result["data"]).remarks,
                "curves": curve_tables(result["metrics"]),
                "pictures": pictures[result["task"]].shown,
                "lost": pictures[result["task"]].lost,
                "provenance": provenance_rows(_plain(entry.read(f"provenance/{result['task']}.json"))),
                "tier": entry.tier(result["task"]),
                "findings": {
                    tier: finding.tasks[result["task"]]
                    for tier, finding in entry.findings.items()
                    if result["task"] in finding.tasks
                },
            }
            for result in results
        ]
        return self._render("model.html", "../", entry=entry, about=about, sections=sections)

    def shared(
        self,
        boards: Sequence[TaskBoard],
        shown: Sequence[ShownTrack],
        models: Sequence[Mapping[str, Any]],
        hidden: Sequence[tuple[str, str]],
        specs: Mapping[str, AdmittedSpec],
    ) -> Iterator[tuple[str, str]]:
        """Name and text of every page that shows more than one model, and of the charts on them."""
        families = {board.family: _question(board.family) for board in boards}
        studied = dict(studies(shown, models))
        common = {"families": families, "hidden": hidden, "studied": studied}
        found = front_sentences(shown, models, studied)
        page = self._render(
            "board.html", "", family=None, boards=boards, tracks=shown, models=models, found=found, **common
        )
        yield "index.html", page
        for name in families:
            own = sorted(
                (board for board in boards if board.family == name), key=lambda board: -board.figured
            )
            page = self._render(
                "board.html", "../", family=name, boards=own, tracks=(), models=models, **common
            )
            yield f"families/{name}.html", page
        for board in boards:
            chart = together(board, models)
            yield f"tasks/{board.id}.html", self._task(board, specs[board.id], chart)
            if chart is not None:
                key = chart_key(board)
                yield f"data/{key}.js", data_script(key, json.loads(str(chart.content)))
        for track, values in studied.items():
            yield f"studies/{track}.html", self.study(values)
        papers: dict[str, list[Mapping[str, Any]]] = {}
        for model in models:
            papers.setdefault(paper_id(model["paper_url"]), []).append(model)
        yield "papers/index.html", self._render("papers.html", "../", papers=papers)
        counts = {
            model["id"]: f"{sum(model['id'] in board.rows for board in boards)} of {len(boards)}"
            for model in models
        }
        for paper, own_models in papers.items():
            page = self._render("paper.html", "../", models=own_models, paper=own_models[0], counts=counts)
            yield f"papers/{paper}.html", page

    def study(self, values: Mapping[str, Any]) -> str:
        """The page that says how a track's measures go together, of :func:`assay.board.site.studies.studies`."""
        return self._render("study.html", "../", **values)

    def _task(self, board: TaskBoard, spec: AdmittedSpec, chart: Figure | None) -> str:
        loaded = spec.loaded
        return self._render(
            "task.html",
            "../" * (board.id.count("/") + 1),
            board=board,
            chart=chart,
            chart_key=chart_key(board),
            spec=loaded.spec,
            spec_text=yaml.safe_dump(loaded.spec.model_dump(mode="json", by_alias=True), sort_keys=False),
            sha256=spec.sha256s[0],
            data=loaded.manifest,
            commits=history(loaded.folder).get(f"{board.id.rpartition('/')[2]}.yaml", ()),
        )

    def _render(self, template: str, root: str, **values: Any) -> str:
        return self._environment.get_template(template).render(root=root, paper_id=paper_id, **values)


def together(board: TaskBoard, models: Sequence[Mapping[str, Any]]) -> Figure | None:
    """The chart of the models that have a curve on a task; None for fewer than two, or a family without curves."""
    curves = family(board.family).curves
    if curves is None:
        return None
    known = {model["id"]: board.curves.get(model["id"], ()) for model in models}
    return chart_of_models(curves, known, board.title)


def chart_key(board: TaskBoard) -> str:
    """Under which the site's data hold the chart of a task's models."""
    return f"tasks/{board.id}-together"


def paper_id(url: str | None) -> str:
    """The name of a paper's page."""
    return "none" if url is None else hashlib.sha256(url.encode()).hexdigest()[:12]


def _question(name: str) -> str:
    """The first sentence of a family's docstring."""
    return (inspect.getdoc(type(family(name))) or name).splitlines()[0]


def _plain(data: bytes | None) -> Mapping[str, Any]:
    document = json.loads(data) if data else {}
    return document if isinstance(document, dict) else {}
