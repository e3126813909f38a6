"""What people call the figure that ranks."""

from assay.tasks.corruptions.spec import CorruptionsSpec


def headline_title(spec: CorruptionsSpec) -> str:
    """Of the mean accuracy, with the convention where one was chosen."""
    what = (
        "Accuracy on shifted pictures" if spec.pictures == "plain" else "Mean accuracy on corrupted pictures"
    )
    if spec.predicted:
        what = "Agreement with its own clean answer"
    return what + _convention(spec)


def _convention(spec: CorruptionsSpec) -> str:
    """How answers are taken where labels are from a part of the classes; mixing the two up is a common mistake."""
    if not spec.classes:
        return ""
    if spec.arg_max == "all":
        return f" of {len(spec.classes)} classes, arg-max over all classes"
    return f", arg-max over {len(spec.classes)} classes"
