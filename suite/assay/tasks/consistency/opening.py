"""Opening a job's data: everything that can be wrong is found before any work starts."""

from pathlib import Path

import numpy as np

from assay.common.errors import UserError
from assay.data.dataset import Dataset
from assay.models.info import IMAGENET
from assay.tasks.consistency.hierarchy import (
    check_labels,
    named_hierarchy,
    parse_hierarchy,
)
from assay.tasks.consistency.sets import ConsistencyData, concepts_of, open_adversarial
from assay.tasks.consistency.spec import ConsistencySpec
from assay.tasks.consistency.topk import top_count
from assay.tasks.shared.images import DataSource


def open_data(spec: ConsistencySpec, real: Dataset, source: DataSource) -> ConsistencyData:
    """The job's data, with hierarchy, labels and ensemble checked.

    Raises:
        UserError: fewer than 3 images; labels outside the hierarchy; a wrong hierarchy file; an ensemble that cannot
            make the set; or an adversarial set that is missing or made from other images.
    """
    if source.own is not None and spec.adversarial is None:
        raise UserError(
            f"--data: this task's adversarial images ({spec.adversarial_data}) were made from other pictures; use a "
            "task whose spec says how they are made (`adversarial`)"
        )
    top_count(len(real.samples))
    folder = Path(source.relative_to)
    hierarchy = _hierarchy(spec.hierarchy, real, folder)
    if spec.adversarial is None:
        given = open_adversarial(str(spec.adversarial_data), real, folder, source.roots)
        return ConsistencyData(real, hierarchy, given)
    from assay.tasks.consistency.adversarial_set import MadeSet
    from assay.tasks.consistency.recipe import read_recipe

    return ConsistencyData(real, hierarchy, MadeSet(read_recipe(spec.adversarial, real, source)))


def _hierarchy(name: str, real: Dataset, folder: Path) -> bytes:
    """The content of the hierarchy file, which covers every label of the data."""
    manifest = real.manifest
    if name == "imagenet" and manifest.label_space != IMAGENET:
        raise UserError(
            f"hierarchy imagenet: covers the labels of {IMAGENET}, those of data set {manifest.name} are "
            f"{manifest.label_space}; give `hierarchy: flat`, or the file of a hierarchy over these labels"
        )
    content, path = named_hierarchy(name, manifest.num_classes), folder / Path(name).expanduser()
    if content is None:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"hierarchy file {path}: cannot be read ({error.strerror}); check the path"
            ) from error
    hierarchy = parse_hierarchy(content, str(path))
    labels = [label for sample in real.samples for label in concepts_of(sample)]
    check_labels(hierarchy, np.array(labels, np.int64))
    return content
