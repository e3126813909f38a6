"""A folder's name finds the class that it is the name of, and never another."""

import pytest

from assay.models.class_names import PUBLIC_NAMES, class_names, imagenet_names, plain
from assay.models.info import ModelInfo, Preprocessing
from digits_models import linear_net


def info(label_space="unstated", num_classes=10, classes=()):
    return ModelInfo(
        name="m", source="s", licence="l", weights_sha256="0" * 64, architecture="a", label_space=label_space,
        num_classes=num_classes, input_shape=(1, 8, 8), piecewise_linear=True, classes=classes,
        preprocessing=Preprocessing(crop=(8, 8), mean=(0.0,), std=(1.0,)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("n02123045", [281]), ("tabby", [281]), ("Tabby_Cat", [281]), ("tabby, tabby cat", [281]), ("tench", [0]),
        ("Egyptian cat", [285]), ("golden-retriever", [207]), ("ant", [310]), ("toilet_tissue", [999]),
        ("crane bird", [134]), ("partridge", [86]), ("ruffed grouse", [82]),
        ("crane", [134, 517]), ("cardigan", [264, 474]), ("maillot", [638, 639]), ("panda", [387, 388]),
        ("cat", []), ("281", []), ("n99999999", []), ("", []),
    ],
)  # fmt: skip
def test_imagenet_s_names_find_their_class_or_say_which_they_may_mean(name, classes):
    assert imagenet_names().classes_of(name) == classes


def test_every_wordnet_id_and_every_name_of_torchvision_but_the_ambiguous_finds_its_class():
    from torchvision.models import ResNet50_Weights

    names = imagenet_names()
    for index, (category, known) in enumerate(
        zip(ResNet50_Weights.IMAGENET1K_V2.meta["categories"], names.first, strict=True)
    ):
        assert names.classes_of(known[0]) == [index]
        assert index in names.classes_of(category)
    alone = [names.classes_of(category) for category in ResNet50_Weights.IMAGENET1K_V2.meta["categories"]]
    assert sum(len(found) > 1 for found in alone) == 4  # crane, maillot, and cardigan in two spellings


def test_imagenet_s_names_are_in_the_order_of_timm_s_list():
    """An independent list: index to WordNet id and first words."""
    from timm.data import ImageNetInfo

    published = ImageNetInfo("imagenet-1k")
    names = imagenet_names()
    for index, wnid in enumerate(published.label_names()):
        assert names.first[index][0] == wnid
        words = published.index_to_description(index)
        assert plain(words) in map(plain, (*names.first[index], *names.others[index]))


@pytest.mark.parametrize("space", PUBLIC_NAMES)
def test_every_public_label_space_has_as_many_distinct_names_as_classes(space):
    from assay.data.manifest import PUBLIC_LABEL_SPACES

    names = PUBLIC_NAMES[space]
    assert len(set(map(plain, names))) == len(names) == PUBLIC_LABEL_SPACES[space]
    found = class_names(info(space, len(names)))
    assert [found.classes_of(name) for name in names] == [[index] for index in range(len(names))]


def test_fashion_mnist_s_names_are_torchvision_s():
    from torchvision.datasets import FashionMNIST

    assert list(PUBLIC_NAMES["fashion-mnist"]) == FashionMNIST.classes


def test_a_model_s_own_names_come_first_and_go_by_imagenet_s_names_too():
    names = class_names(info("imagenet-1k", 2, ("English springer", "my cat")))
    assert names.classes_of("english_springer") == names.classes_of("n02102040") == [0]
    assert names.classes_of("My Cat") == [1]
    assert names.classes_of("tench") == []


def test_a_model_of_another_label_space_without_names_has_none():
    assert class_names(info("mine")) is None
    assert class_names(info()) is None
    assert class_names(info(num_classes=1000)) is imagenet_names()


def test_a_card_names_as_many_classes_as_there_are_logits():
    with pytest.raises(ValueError, match="names 2 classes where the network has 10 logits"):
        info(classes=("a", "b"))


def test_a_card_s_names_reach_the_model():
    from assay.models.build import assemble
    from assay.models.info import Card

    preprocessing = Preprocessing(crop=(8, 8), mean=(0.0,), std=(1.0,))
    names = tuple("abcdefghij")
    card = Card("m", "s", "l", "a", "mine", 10, preprocessing, names)
    assert assemble(linear_net(), card, "0" * 64).info.classes == names
