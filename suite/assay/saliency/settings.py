"""The saliency methods by name, and what each can be asked. Nothing here imports torch."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from assay.common.errors import UserError
from assay.common.validation import StrictModel, validate

Count = Annotated[int, Field(ge=1)]
PixelValue = Annotated[float, Field(ge=0, le=1)]
Shown = Literal["absolute", "positive"]


class Settings(StrictModel):
    """One method's settings; subclasses add them.

    Attributes:
        title: the method's name in print.
        shown: what a picture of the map shows: how strongly pixels count at all, or how much for the class.
        per_channel: whether the method gives one number per channel, as gradients do, or one per pixel.
    """

    title: ClassVar[str]
    shown: ClassVar[Shown] = "absolute"
    per_channel: ClassVar[bool] = True


class Gradient(Settings):
    """The logit's gradient (Simonyan et al. 2014)."""

    title = "Gradient"


class GuidedBackprop(Settings):
    """The gradient with every ReLU passing back positive values only (Springenberg et al. 2015)."""

    title = "Guided backprop"


class SmoothGrad(Settings):
    """The gradient's mean over noisy copies (Smilkov et al. 2017).

    Attributes:
        samples: noisy copies per image.
        sigma: the noise's standard deviation, in units of pixels in [0, 1]; the paper advises 0.1 to 0.2.
        seed: of the noise, which is the same for every image: a map does not depend on its neighbours.
    """

    title = "SmoothGrad"
    samples: Count = 50
    sigma: Annotated[float, Field(gt=0)] = 0.15
    seed: Annotated[int, Field(ge=0)] = 0


class IntegratedGradients(Settings):
    """The path integral of the gradient from a plain image (Sundararajan et al. 2017).

    Attributes:
        steps: points of the Gauss-Legendre rule.
        baseline: value of all the plain image's pixels, in [0, 1].
    """

    title = "Integrated gradients"
    steps: Count = 50
    baseline: PixelValue = 0.0


class _Cam(Settings):
    """A map of a layer.

    Attributes:
        layer: its name in the network. When left out: where the last convolution's map leaves its normalisation and
            activation, or a transformer's last block. If only the class token leaves that block for the logits, what
            enters its attention.
    """

    layer: str | None = None


class GradCam(_Cam):
    """A layer's channels weighed by their mean gradients (Selvaraju et al. 2017)."""

    title = "Grad-CAM"
    shown = "positive"
    per_channel = False


class GradCamPlusPlus(_Cam):
    """A layer's channels weighed by their positive gradients, pixel by pixel (Chattopadhay et al. 2018)."""

    title = "Grad-CAM++"
    shown = "positive"
    per_channel = False


class GuidedGradCam(_Cam):
    """Guided backprop times Grad-CAM (Selvaraju et al. 2017)."""

    title = "Guided Grad-CAM"


class GuidedGradCamPlusPlus(_Cam):
    """Guided backprop times Grad-CAM++ (Chattopadhay et al. 2018)."""

    title = "Guided Grad-CAM++"


class Occlusion(Settings):
    """How much the logit falls when a square is covered (Zeiler and Fergus 2014).

    Attributes:
        window: the square's side in pixels; an eighth of the shorter side when left out.
        stride: pixels between squares; half the window when left out.
        baseline: value of the covering pixels, in [0, 1].
    """

    title = "Occlusion"
    shown = "positive"
    per_channel = False
    window: Count | None = None
    stride: Count | None = None
    baseline: PixelValue = 0.0


METHODS: dict[str, type[Settings]] = {
    "gradient": Gradient,
    "guided_backprop": GuidedBackprop,
    "smoothgrad": SmoothGrad,
    "integrated_gradients": IntegratedGradients,
    "grad_cam": GradCam,
    "grad_cam_pp": GradCamPlusPlus,
    "guided_grad_cam": GuidedGradCam,
    "guided_grad_cam_pp": GuidedGradCamPlusPlus,
    "occlusion": Occlusion,
}


def settings_of(method: str, given: Mapping[str, Any]) -> Settings:
    """A method's settings, checked.

    Raises:
        UserError: no such method (the nearest names are given), or it has no such setting or not this value.
    """
    if method not in METHODS:
        near = difflib.get_close_matches(method, METHODS, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"choose one of {', '.join(METHODS)}"
        raise UserError(f"unknown saliency method {method!r}; {hint}")
    return validate(METHODS[method], dict(given), f"saliency method {method}")
