"""A run in Python: its results, its records, its figures; and two runs compared."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assay.common.errors import UserError
from assay.results.document import ResultDocument

if TYPE_CHECKING:
    from pandas import DataFrame

    from assay.tasks.base import Figure


@dataclass(frozen=True)
class ShownFigure:
    """A figure that a notebook shows.

    Attributes:
        model: whose it is.
        task: of which task.
        figure: title, caption and content.
    """

    model: str
    task: str
    figure: "Figure"

    def __repr__(self) -> str:
        return f"<{self.task} of {self.model}: {self.figure.title}>"

    def _repr_mimebundle_(self, **_asked: Any) -> dict[str, Any]:
        """What Jupyter draws: the chart or the picture, and the caption where it can draw neither."""
        import base64
        import json

        words = f"{self.figure.title}. {self.figure.caption}"
        if self.figure.kind == "plotly":
            chart = json.loads(self.figure.content)
            return {"application/vnd.plotly.v1+json": chart, "text/plain": words}
        content = self.figure.content
        encoded = content if isinstance(content, bytes) else content.encode()
        return {"image/png": base64.b64encode(encoded).decode(), "text/plain": words}


@dataclass(frozen=True)
class Run:
    """What a run found.

    Attributes:
        folder: where it lies; a temporary folder goes with the run.
        results: a document for each model and task.
        figures: the pictures of the page, which a notebook draws.
    """

    folder: Path
    results: tuple[ResultDocument, ...]
    figures: tuple[ShownFigure, ...] = field(repr=False)
    _kept: Any = field(default=None, repr=False)

    def to_frame(self) -> "DataFrame":
        """Every figure, a row each, in the columns of ``results.csv``."""
        import pandas as pd

        from assay.results.tables import RESULT_COLUMNS, result_rows

        return pd.DataFrame(result_rows(self.results), columns=list(RESULT_COLUMNS))

    def records(self, task: str | None = None, model: str | None = None) -> "DataFrame":
        """The rows of every unit, as `assay records` prints them.

        Args:
            task: the task; may be left out where the run has only one.
            model: the model; may be left out too.

        Raises:
            UserError: the run has no such result, or several.
        """
        from io import StringIO

        import pandas as pd

        from assay.board.submissions.challenged_run import found_elsewhere
        from assay.runner.assemble import records_csv, stored_job
        from assay.runner.store import RunFolder

        wanted = self.result(task, model)
        job = stored_job(RunFolder.existing(self.folder), wanted.model.name, wanted.task)
        if job is None:
            raise UserError(f"{self.folder}: its records are gone; run the task again")
        return pd.read_csv(StringIO(records_csv(job, found_elsewhere(job))), dtype={"unit_id": str})

    def result(self, task: str | None = None, model: str | None = None) -> ResultDocument:
        """The result of a task and a model; leave out either where the run has only one.

        Raises:
            UserError: there is none, or there are several.
        """
        fits = [
            each for each in self.results if task in (None, each.task) and model in (None, each.model.name)
        ]
        if len(fits) != 1:
            there = ", ".join(f"{each.task} of {each.model.name}" for each in self.results) or "nothing"
            raise UserError(f"the run has {len(fits)} such results; it has {there}: say task= and model=")
        return fits[0]

    @property
    def card(self) -> str:
        """The run in at most 25 lines, as the command line ends with it."""
        from assay.board.background import background_of
        from assay.results.card import card

        return card(self.results, background_of(self.results), [])

    def __repr__(self) -> str:
        models = ", ".join(dict.fromkeys(result.model.name for result in self.results)) or "no model"
        plural = "" if len(self.results) == 1 else "s"
        return f"<run in {self.folder}: {len(self.results)} result{plural} of {models}; print(run) shows its card>"

    def __str__(self) -> str:
        return self.card

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(self.card)}</pre>"


def run_in(folder: Path, kept: Any = None) -> Run:
    """The run in a folder; ``kept`` is held as long as it is."""
    from assay.runner.assemble import write_report
    from assay.runner.lock import exclusive
    from assay.runner.store import RunFolder

    stored = RunFolder.existing(folder)
    with exclusive(folder):
        report = write_report(stored)
    figures = tuple(
        ShownFigure(model, task, figure)
        for (model, task), drawn in report.figures.items()
        for figure in drawn
    )
    return Run(folder, report.results, figures, kept)


def load(folder: str | Path) -> Run:
    """The run that `assay run --out FOLDER`, or :func:`assay.evaluate` with ``out``, left.

    Raises:
        UserError: there is none, or another process is at work there.
    """
    return run_in(Path(folder))


def compare(a: "Run | str | Path", b: "Run | str | Path") -> "DataFrame":
    """Two models on the same units, paired: a row for each headline figure of each task that both have.

    Args:
        a: a run of one model, its folder, ``FOLDER@MODEL``, or a submission's folder.
        b: likewise.

    Returns:
        Columns ``task``, ``metric``, ``difference`` (a minus b), ``low`` and ``high`` (its 95 % interval), ``p_value``,
        ``test``, ``n`` and ``of`` (what was paired: units, shapes, images), ``only_a`` and ``only_b``. Only the names
        are filled where the figure follows from nothing that both have.

    Raises:
        UserError: they share no task, or are of different specs, data or units.
    """
    import pandas as pd

    from assay.board.compare import compare as paired
    from assay.board.compare import sides

    one, other = (sides(str(each.folder) if isinstance(each, Run) else str(each)) for each in (a, b))
    common = [task for task in one if task in other]
    if not common:
        raise UserError(
            f"they share no task: {', '.join(one) or 'nothing'} and {', '.join(other) or 'nothing'}"
        )
    rows = [
        {"task": task, "metric": name} | ({} if test is None else vars(test))
        for task in common
        for name, test in paired(one[task], other[task]).items()
    ]
    columns = [
        "task",
        "metric",
        "difference",
        "low",
        "high",
        "p_value",
        "test",
        "n",
        "of",
        "only_a",
        "only_b",
    ]
    return pd.DataFrame(rows, columns=columns)
