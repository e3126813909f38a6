"""The pictures of a job: maps with regions and traps, bounds over iterations, profiles, DSM, renders. No torch."""

import io
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from assay.tasks.base import Figure, Record
from assay.tasks.srvr.arrays import FloatArray
from assay.tasks.srvr.figures import RegionMark, contact_sheet, map_figure, profile_figure, trace_figure
from assay.tasks.srvr.maps import class_means, data_semantic_map
from assay.tasks.srvr.spec import SrvrSpec
from assay.tasks.srvr.study import Search, ShapeMap, Study, study, view_maps
from assay.tasks.srvr.summary import map_traps
from assay.tasks.srvr.traps import Trap, find_traps


def pictures(spec: SrvrSpec, records: Sequence[Record]) -> list[Figure]:
    """Every picture that the spec's parameters and the records allow."""
    found = study(spec, records)
    figures = [*_contact(records)]
    if spec.is_view_map and found.maps:
        figures += [_map(spec, shape, found) for shape in found.maps]
        figures += _data_maps(spec, found)
    if found.maps:
        figures.append(_profiles(spec, found.maps))
    figures += _traces(spec, found)
    return figures


def _map(spec: SrvrSpec, shape: ShapeMap, found: Study) -> Figure:
    """One network semantic map with its regions (the paper's Fig. 3 and 4)."""
    searches = [each for each in found.searches if each.shape == shape.shape and not each.adversarial]
    if any(each.on_network for each in searches):
        searches = [each for each in searches if each.on_network]
    traps = map_traps(spec, shape)
    title = f"Semantic map of {shape.shape}"
    scores = view_maps(spec, [shape]).maps[0]
    picture = map_figure(scores, *spec.view_axes, title, [_mark(each) for each in searches], traps)
    where = "on the network itself" if searches and searches[0].on_network else "on the map"
    ratios = ", ".join(
        f"{method} {_mean_ratio(searches, method):.2f} %"
        for method in dict.fromkeys(s.method for s in searches)
    )
    status = "passes" if shape.recognised else "does not pass"
    excluded = " It is not counted." if shape.shape in spec.excluded else ""
    caption = (
        f"Score of class {shape.class_index} over the views; mean {shape.rows.mean():.3f}. Robust regions grown "
        f"{where}, mean share of the domain: {ratios}. {_trap_words(traps)} Best band {shape.best_band:.3f}: it "
        f"{status} the acceptance rule.{excluded}"
    )
    return Figure(f"map-{_slug(shape.shape)}", title, caption, "png", picture)


def _mark(search: Search) -> RegionMark:
    low, high, initial = (
        (float(pair[0]), float(pair[1])) for pair in (search.low, search.high, search.initial)
    )
    return RegionMark(search.method, low, high, initial)


def _mean_ratio(searches: Sequence[Search], method: str) -> float:
    ratios = [search.volume_ratio for search in searches if search.method == method]
    return float(100 * np.nanmean(ratios))


def _trap_words(traps: Sequence[Trap]) -> str:
    if not traps:
        return "No trap."
    found = "; ".join(
        f"azimuth {trap.azimuth_deg:g}°, elevation {trap.elevation_deg:g}° ({trap.area_deg2:g} deg², depth "
        f"{trap.depth:.2f}, lowest score {trap.lowest:.3f}{', all the way round' * trap.encircles})"
        for trap in traps
    )
    return f"{len(traps)} trap{'s' * (len(traps) > 1)}: {found}."


def _data_maps(spec: SrvrSpec, found: Study) -> Iterator[Figure]:
    """The mean over all counted shapes, and over those of each class that has several."""
    counted = [shape for shape in found.maps if shape.shape not in spec.excluded]
    if not counted:
        return
    maps, classes = view_maps(spec, counted), [shape.class_name for shape in counted]
    means = {"all counted shapes": data_semantic_map([maps])}
    means |= {f"class {name}": scores for name, scores in class_means(maps, classes).items()}
    for name, scores in means.items():
        traps = find_traps(scores, *spec.view_axes)
        title = f"Data semantic map, {name}"
        count = len(counted) if name == "all counted shapes" else classes.count(name.removeprefix("class "))
        caption = f"Mean over {count} maps: {scores.mean():.3f}. {_trap_words(traps)}"
        yield Figure(
            f"dsm-{_slug(name)}", title, caption, "png", map_figure(scores, *spec.view_axes, title, (), traps)
        )


def _profiles(spec: SrvrSpec, maps: Sequence[ShapeMap]) -> Figure:
    """Each shape's best row (the paper's Fig. 1)."""
    axis = spec.axes[0]
    profiles: dict[str, FloatArray] = {shape.shape: shape.rows[shape.rows.mean(1).argmax()] for shape in maps}
    title = f"Score along {axis.name}"
    caption = "Of each shape the row of views with the highest mean score; " + ", ".join(
        f"{name} {scores.min():.2f} to {scores.max():.2f}" for name, scores in profiles.items()
    )
    return Figure("profiles", title, caption, "png", profile_figure(profiles, axis, title))


def _traces(spec: SrvrSpec, found: Study) -> Iterator[Figure]:
    """The bounds over the updates, from the point with the largest region (the paper's Fig. 10 to 12)."""
    for on_network in (False, True):
        robust = [s for s in found.searches if s.on_network == on_network and not s.adversarial]
        if not robust:
            continue
        largest = max(robust, key=lambda search: np.nan_to_num(search.volume_ratio))
        same = [s for s in robust if s.shape == largest.shape and (s.initial == largest.initial).all()]
        where = "network itself" if on_network else "map"
        title = f"Bounds of {largest.shape}'s regions over the updates"
        caption = (
            f"Grown on the {where} from {', '.join(f'{value:g}' for value in largest.initial)}, the point with the "
            "largest region: "
            + ", ".join(
                f"{s.method} {100 * s.volume_ratio:.2f} % of the domain after {s.steps} updates"
                f"{'' if s.converged else ' (still moving)'}"
                for s in same
            )
        )
        picture = trace_figure({search.method: search.trace for search in same}, spec.names, title)
        yield Figure(f"bounds-{'network' if on_network else 'map'}", title, caption, "png", picture)


def _contact(records: Sequence[Record]) -> Iterator[Figure]:
    """The renders that the records keep, one row per shape."""
    images, captions, columns = [], [], 0
    for record in records:
        kept = record.values.get("renders")
        if not kept or kept["file"] not in record.files:  # a submission's records come without files
            continue
        with Image.open(io.BytesIO(record.files[kept["file"]])) as strip:
            pixels = np.asarray(strip, dtype=np.float64) / 255
        columns = max(columns, len(kept["points"]))
        for image, point in zip(np.split(pixels, len(kept["points"]), axis=1), kept["points"], strict=True):
            images.append(image)
            captions.append(f"{record.values['shape'][:18]} {', '.join(f'{value:g}' for value in point)}")
    if images:
        sheet = contact_sheet(np.stack(images), captions, columns)
        text = (
            f"{len(images)} of the renders that the network saw, each with its point of the semantic space."
        )
        yield Figure("renders", "Renders", text, "png", sheet)


def _slug(name: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in name)
