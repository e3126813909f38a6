"""The registry of layouts: a new one is a module here and one line in ``AnyLayout``."""

from typing import Annotated

from pydantic import Field

from assay.data.layouts.base import Contents, Layout, Sample
from assay.data.layouts.broden import Broden
from assay.data.layouts.cifar_binary import CifarBinary
from assay.data.layouts.corruption_arrays import CorruptionArrays
from assay.data.layouts.corruption_folders import CorruptionFolders
from assay.data.layouts.flat_with_labels import FlatWithLabels
from assay.data.layouts.folder_per_class import FolderPerClass
from assay.data.layouts.idx import Idx
from assay.data.layouts.labelled_names import LabelledNames
from assay.data.layouts.npz import Npz
from assay.data.layouts.oxford_flowers17 import OxfordFlowers17
from assay.data.layouts.sklearn_digits import SklearnDigits
from assay.data.layouts.table import TableLayout
from assay.data.layouts.tiny_imagenet import TinyImageNet
from assay.data.layouts.unlabelled import Unlabelled

AnyLayout = Annotated[
    Broden
    | CifarBinary
    | CorruptionArrays
    | CorruptionFolders
    | FlatWithLabels
    | FolderPerClass
    | Idx
    | LabelledNames
    | Npz
    | OxfordFlowers17
    | SklearnDigits
    | TableLayout
    | TinyImageNet
    | Unlabelled,
    Field(discriminator="type"),
]

__all__ = ["AnyLayout", "Contents", "Layout", "Sample"]
