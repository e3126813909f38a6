"""Score rows of semantic maps, and grow regions on the network itself; every record carries its guards' figures."""

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from assay.common.errors import UserError
from assay.data.dataset import Dataset
from assay.models.check import ForwardError, NonFiniteOutputError, ask, check_logits
from assay.models.loaded import LoadedModel, device_of
from assay.tasks.base import Record, RunContext
from assay.tasks.shared.loading import LoadedPicture, Loader
from assay.tasks.srvr.arrays import FloatArray, IntArray
from assay.tasks.srvr.camera import camera, place
from assay.tasks.srvr.corrupted import corrupted_renders, view_names
from assay.tasks.srvr.labelled import FittingPictures
from assay.tasks.srvr.pytorch3d_backend import render_with_pytorch3d
from assay.tasks.srvr.reference import reference_difference
from assay.tasks.srvr.regions import Regions, complement, grow_regions
from assay.tasks.srvr.render import Draw, RenderSettings, Surface, render
from assay.tasks.srvr.scores import NetworkScores
from assay.tasks.srvr.shapes import Shape
from assay.tasks.srvr.spec import SrvrSpec
from assay.tasks.srvr.study import COMPLEMENT
from assay.tasks.srvr.temperature import Temperature, fit_temperature
from assay.tasks.srvr.work import RowWork, SearchWork

_CONTACT_SIZE = 112
_DRAW: dict[str, Draw] = {"assay": render, "pytorch3d": render_with_pytorch3d}
_Look = Callable[[IntArray, FloatArray], FloatArray]  # of searches, at points, what the network says


@dataclass(frozen=True)
class RenderSetting:
    """What every unit of a job needs: the network, the renderer, and how the run goes."""

    spec: SrvrSpec
    model: LoadedModel
    context: RunContext
    labelled: Dataset | None = None

    @property
    def temperature(self) -> Temperature | None:
        """Fitted on the labelled pictures, once a process; None where there are none."""
        if self.labelled is None:
            return None
        pictures = FittingPictures(self.labelled.sha256, self.labelled)
        return _temperature(self.model, pictures, self.context.device, self.context.batch_size)

    @property
    def draw(self) -> Draw:
        """The renderer."""
        return _DRAW[self.spec.renderer]

    @property
    def settings(self) -> RenderSettings:
        """Of the renders."""
        size = self.spec.image_size or self.model.info.input_shape[1]
        return RenderSettings(size, self.spec.supersampling, self.spec.memory_mb)

    def network(self, images: Tensor) -> Tensor:
        """Logits (N, K) of renders (N, 3, S, S), checked for NaN.

        The model normalises inside. Where the spec says not to, renders are put such that what the network
        gets after that are the raw values.
        """
        if not self.spec.normalise:
            preprocessing = self.model.info.preprocessing
            mean, std = (images.new_tensor(v).view(-1, 1, 1) for v in (preprocessing.mean, preprocessing.std))
            images = images * std + mean
        logits: Tensor = self.model.module(images)
        check_logits(logits, self.model.info.num_classes)
        return logits

    def surface(self, shape: Shape) -> Surface:
        """The shape on the run's device."""
        return _surface(shape, self.context.device)

    def images(self, surface: Surface, points: Tensor) -> Tensor:
        """Renders (N, 3, S, S) at points (N, n) of the semantic space."""
        return self.draw(surface, camera(place(self.spec.names, points)), self.settings)

    def seen(self, images: Tensor, shape: str, points: Tensor) -> Tensor:
        """What the network sees of a shape's renders at points: the renders, corrupted where the spec says so."""
        corruption = self.spec.corruption
        return (
            images if corruption is None else corrupted_renders(images, corruption, view_names(shape, points))
        )


def check_image_size(size: int, model: LoadedModel) -> None:
    """Ask a network for black renders of ``size`` x ``size`` pixels.

    Raises:
        UserError: it takes no other size than its own; its words are quoted.
    """
    device = device_of(model.module)
    try:
        logits = ask(model.module, torch.zeros(2, 3, size, size, device=device), model.info.name)
        check_logits(logits, model.info.num_classes)
    except NonFiniteOutputError:
        return
    except UserError as error:
        words = error.words if isinstance(error, ForwardError) else str(error)
        raise UserError(
            f"`image_size` of the task: model {model.info.name} does not take renders of {size} x {size} ({words}); "
            f"leave it out, and they have the network's own {model.info.input_shape[1]} x {model.info.input_shape[2]}"
        ) from error


@lru_cache(maxsize=1)
def _temperature(model: LoadedModel, pictures: FittingPictures, device: str, batch_size: int) -> Temperature:
    """The network's temperature, from pictures prepared as its maker meant, even where renders are not.

    Raises:
        UserError: a picture cannot be read.
    """
    labelled = pictures.dataset
    logits, labels = [], [sample.label for sample in labelled.samples]
    for start in range(0, len(labels), batch_size):
        part = labelled.samples[start : start + batch_size]
        images = Loader().batch([LoadedPicture(model, labelled, sample) for sample in part], device)
        found = model.module(images)
        check_logits(found, model.info.num_classes)
        logits.append(found.double().cpu())
    return fit_temperature(torch.cat(logits).numpy(), np.array(labels))


@lru_cache(maxsize=4)
def _surface(shape: Shape, device: str) -> Surface:
    return Surface.from_mesh(shape.mesh(), device)


@torch.inference_mode()
def score_row(setting: RenderSetting, unit_id: str, work: RowWork) -> Record:
    """One row of a shape's map: the first parameter takes all its values, the others stay.

    Raises:
        UserError: the mesh cannot be used.
        ValueError: a logit is NaN or infinite.
    """
    spec, shape, context = setting.spec, work.shape, setting.context
    points, surface = _row_points(spec, work.row), setting.surface(shape)
    scores, coverage, saturation, changes, kept = [], [], [], [], []
    recognised: list[bool] = []
    calibrated: list[float] = []
    temperature = setting.temperature
    wanted = _contact_indices(spec, work.row)
    for start in range(0, len(points), context.batch_size):
        part = points[start : start + context.batch_size]
        images = setting.images(surface, part)
        seen = setting.seen(images, shape.id, part)
        logits = context.savepoints.step(f"{unit_id} {start}", partial(setting.network, seen)).double()
        probabilities = logits.softmax(1)
        recognised += (logits.argmax(1) == shape.class_index).tolist()
        if temperature is not None and temperature.value is not None:
            calibrated += (logits / temperature.value).softmax(1)[:, shape.class_index].tolist()
        scores += probabilities[:, shape.class_index].tolist()
        coverage.append((images[:, 0] > 0).double().mean((1, 2)).min().item())
        saturation.append((images[:, 0] >= 1).double().mean((1, 2)).max().item())
        changes.append((seen - images).abs().mean((1, 2, 3)).min().item())
        # One view per row is drawn and scored again, alone: enough to see what depends on the batch.
        if start == 0:
            repeated = _repeat(setting, (shape, part[:1]), images[:1], probabilities[:1])
        kept += [seen[index - start, 0] for index in wanted if start <= index < start + len(part)]
        context.advance(len(part) / len(points))
    name = f"renders/{shape.id}.png"
    return Record(
        unit_id,
        {
            "kind": "row",
            **_identity(shape),
            "row": work.row,
            "fixed": points[0, 1:].tolist(),
            "scores": scores,
            "renders": {"file": name, "points": points[wanted].tolist()} if kept else None,
            "checks": {
                "least_coverage": min(coverage),
                "largest_saturation": max(saturation),
                "reference_difference": reference_difference(setting.draw, context.device),
                **repeated,
                **({} if spec.corruption is None else {"least_change": min(changes)}),
            },
            "recognised": recognised,
            "calibrated": calibrated or None,
            "temperature": None if temperature is None else asdict(temperature),
        },
        files={name: _strip(kept)} if kept else {},
    )


def _identity(shape: Shape) -> dict[str, Any]:
    return {"shape": shape.id, "class_name": shape.class_name, "class_index": shape.class_index}


def _row_points(spec: SrvrSpec, row: int) -> Tensor:
    """(A, n) points of a row."""
    fixed = list(product(*(axis.values for axis in spec.axes[1:])))[row]
    along = spec.axes[0].values
    return torch.from_numpy(np.column_stack((along, np.tile(fixed, (len(along), 1)))))


def _contact_indices(spec: SrvrSpec, row: int) -> list[int]:
    """Which renders of a row are kept for the page: evenly spaced ones of the middle row."""
    rows = int(np.prod([axis.count for axis in spec.axes[1:]]))
    if row != rows // 2 or not spec.contact_views:
        return []
    count = spec.axes[0].count
    return sorted({index * count // spec.contact_views for index in range(spec.contact_views)})


def _repeat(
    setting: RenderSetting, view: tuple[Shape, Tensor], image: Tensor, probabilities: Tensor
) -> dict[str, float]:
    """A view drawn and scored again, alone: how far image and probabilities are from those in its batch."""
    shape, point = view
    again = setting.images(setting.surface(shape), point)
    second = setting.network(setting.seen(again, shape.id, point)).double().softmax(1)
    return {
        "rerender_difference": float((again - image).abs().max()),
        "repeat_difference": float((second - probabilities).abs().max()),
    }


def _strip(renders: Sequence[Tensor]) -> bytes:
    """Renders side by side, as a grey PNG."""
    small = torch.nn.functional.interpolate(
        torch.stack(list(renders))[:, None], (_CONTACT_SIZE, _CONTACT_SIZE), mode="area"
    )
    pixels = (small[:, 0].permute(1, 0, 2).reshape(_CONTACT_SIZE, -1).cpu().numpy() * 255).round()
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, format="png")
    return buffer.getvalue()


def search_network(setting: RenderSetting, unit_id: str, work: SearchWork) -> Record:
    """Grow the regions of one shape with one method on the network itself, all points as one batch.

    Raises:
        UserError: the mesh cannot be used.
        ValueError: a logit is NaN or infinite.
    """
    spec, shape = setting.spec, work.shape
    found = _grow(setting, work)
    traces = io.BytesIO()
    np.save(traces, found.trace.astype(np.float32))
    name = f"traces/{unit_id}.npy"
    searches = [
        {
            "low": found.low[index].tolist(),
            "high": found.high[index].tolist(),
            "steps": int(found.steps[index]),
            "converged": bool(found.converged[index]),
            "diverged": bool(found.diverged[index]),
        }
        for index in range(len(spec.initial))
    ]
    function = "network" + COMPLEMENT * work.adversarial
    return Record(
        unit_id,
        {
            "kind": "searches",
            **_identity(shape),
            "function": function,
            "method": work.method.method,
            "searches": searches,
            "traces": name,
        },
        files={name: traces.getvalue()},
    )


def _grow(setting: RenderSetting, work: SearchWork) -> Regions:
    spec = setting.spec
    scores = NetworkScores(
        network=setting.network,
        surfaces=[setting.surface(work.shape)],
        class_index=[work.shape.class_index],
        names=spec.names,
        shape_of_search=[0] * len(spec.initial),
        settings=setting.settings,
        batch_size=setting.context.batch_size,
        draw=setting.draw,
    )

    def kept(name: str, look: _Look) -> _Look:
        def step(searches: IntArray, points: FloatArray) -> FloatArray:
            found = setting.context.savepoints.step(name, lambda: torch.from_numpy(look(searches, points)))
            return np.asarray(found.numpy())

        return step

    seen, slopes = kept("scores", scores), kept("slopes", scores.gradient)
    sign = -1.0 if work.adversarial else 1.0
    return grow_regions(
        complement(seen) if work.adversarial else seen,
        spec.initial,
        spec.domain,
        work.method.settings(spec.as_published),
        (lambda searches, points: sign * slopes(searches, points)) if spec.slopes == "autograd" else None,
        setting.context.advance,
    )
