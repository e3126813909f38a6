"""What classes are called: the names that match a user's folders to a model's logits."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from assay.common.resources import shipped_folder
from assay.data.places import package_folder
from assay.models.info import IMAGENET, UNSTATED, ModelInfo

_IMAGENET_CLASSES = 1000
_DIGITS = tuple("0123456789")
_CIFAR_10 = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR_100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate
poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider
squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
"""

# The usual order of each; ImageNet's come from the packages that keep them.
PUBLIC_NAMES: dict[str, tuple[str, ...]] = {
    "cifar-10": tuple(_CIFAR_10.split()),
    "cifar-100": tuple(_CIFAR_100.split()),
    "digits": _DIGITS,
    "mnist": _DIGITS,
    "fashion-mnist": (
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ),
    "oxford-flowers-17": (
        "daffodil", "snowdrop", "lily valley", "bluebell", "crocus", "iris", "tigerlily", "tulip", "fritillary",
        "sunflower", "daisy", "colts' foot", "dandelion", "cowslip", "buttercup", "windflower", "pansy",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class ClassNames:
    """The names of each class: ``first`` are its proper names, ``others`` its further names."""

    first: tuple[tuple[str, ...], ...]
    others: tuple[tuple[str, ...], ...] = ()

    def classes_of(self, name: str) -> list[int]:
        """The classes called ``name``, without regard to case and signs; proper names count before others."""
        wanted = plain(name)
        return next((index[wanted] for index in self._indices if wanted in index), [])

    @cached_property
    def _indices(self) -> list[dict[str, list[int]]]:
        """Plain name to classes, for the proper names and for the others."""
        return [_index(self.first), _index(self.others)]


def _index(names: Sequence[Sequence[str]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number, known in enumerate(names):
        for name in dict.fromkeys(map(plain, known)):
            found.setdefault(name, []).append(number)
    return found


def plain(name: str) -> str:
    """A name without case and signs: ``T-shirt/top`` is ``t shirt top``."""
    return re.sub(r"[\W_]+", " ", name.casefold()).strip()


def class_names(info: ModelInfo) -> ClassNames | None:
    """The names of a model's classes: its own, or those of its label space; None where nobody states them.

    A model with a name of ImageNet among its own also goes by the other names of that class, such as its WordNet id.
    """
    if info.classes:
        return _with_synonyms(info.classes)
    if info.label_space == IMAGENET or (
        info.label_space == UNSTATED and info.num_classes == _IMAGENET_CLASSES
    ):
        return imagenet_names()
    names = PUBLIC_NAMES.get(info.label_space)
    return None if names is None else ClassNames(tuple((name,) for name in names))


def _with_synonyms(names: Sequence[str]) -> ClassNames:
    imagenet = imagenet_names()
    found = [imagenet.classes_of(name) for name in names]
    others = tuple(
        (*imagenet.first[classes[0]], *imagenet.others[classes[0]]) if len(classes) == 1 else ()
        for classes in found
    )
    return ClassNames(tuple((name,) for name in names), others)


@cache
def imagenet_names() -> ClassNames:
    """WordNet id, torchvision's name and WordNet's first word of each ImageNet class; its other words besides."""
    from torchvision.models import ResNet50_Weights

    wnids = (shipped_folder("data_manifests") / "imagenet-1k-wnids.txt").read_text(encoding="utf-8").split()
    categories = ResNet50_Weights.IMAGENET1K_V2.meta["categories"]
    words = _wordnet_words()
    first, others = [], []
    for wnid, category in zip(wnids, categories, strict=True):
        known = words.get(wnid, [])
        first.append(_distinct((wnid, category, *known[:1])))
        others.append(_distinct((*known[1:], ", ".join(known))))
    return ClassNames(tuple(first), tuple(others))


def _wordnet_words() -> dict[str, list[str]]:
    """The words of each WordNet id, from the list that timm carries (read without importing timm); {} without it."""
    folder = package_folder("timm")
    path = folder and folder / "data" / "_info" / "imagenet_synset_to_lemma.txt"
    if path is None or not path.is_file():
        return {}
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if "\t" in line)
    return {wnid: words.split(", ") for wnid, words in rows}


def _distinct(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, names)))
