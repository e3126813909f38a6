"""The spec of semantic robustness: which parameters, which grid, which renderer, how regions are grown."""

from dataclasses import replace
from typing import Annotated, Literal

from pydantic import Field, model_validator

from assay.common.errors import UserError
from assay.common.fields import IDENTITY, RUNTIME
from assay.common.validation import StrictModel
from assay.data.corrupting.corruption import Corruption
from assay.tasks.srvr.domain import Domain
from assay.tasks.srvr.maps import GridAxis, grid_axis
from assay.tasks.srvr.parameters import MESH_RADIUS, find_parameters
from assay.tasks.srvr.regions import RegionSettings
from assay.tasks.task_spec import TaskSpec

CALIBRATED = "srvr_calibrated"
"""The figure that ranks: SRVR of scores after temperature scaling, on circles where the spec has any."""
Finite = Annotated[float, Field(allow_inf_nan=False)]


class ParameterSpec(StrictModel):
    """One semantic parameter: its side of the domain Ω, and the grid of the maps along it.

    Attributes:
        name: as in :mod:`assay.tasks.srvr.parameters`, with its unit.
        low: lower end of the domain, and first value of the grid.
        high: upper end of the domain.
        step: of the grid; it divides the range from ``low`` to ``last``.
        last: the last value of the grid; ``high`` where left out.
    """

    name: Annotated[str, IDENTITY]
    low: Annotated[Finite, IDENTITY]
    high: Annotated[Finite, IDENTITY]
    step: Annotated[Finite, IDENTITY]
    last: Annotated[Finite | None, IDENTITY] = None

    @property
    def axis(self) -> GridAxis:
        """The grid along this parameter.

        Raises:
            UserError: an unknown parameter, or a step that does not divide the range.
        """
        period = find_parameters([self.name])[0].period
        last = self.high if self.last is None else self.last
        return grid_axis(self.name, self.low, last, self.step, period)


class MethodSpec(StrictModel):
    """One way to grow regions; what is left out has the published value (:class:`RegionSettings`)."""

    method: Annotated[str, IDENTITY]
    steps: Annotated[int, IDENTITY] = Field(default=RegionSettings.steps, ge=1)
    step_size: Annotated[Finite, IDENTITY] = Field(default=RegionSettings.step_size, gt=0)
    alpha: Annotated[Finite, IDENTITY] = Field(default=RegionSettings.alpha, ge=0)
    beta: Annotated[Finite, IDENTITY] = Field(default=RegionSettings.beta, ge=0)
    regulariser: Annotated[Finite, IDENTITY] = Field(default=RegionSettings.regulariser, ge=0)
    half_width: Annotated[Finite, IDENTITY] = Field(default=RegionSettings.half_width, gt=0)
    difference_step: Annotated[Finite, IDENTITY] = Field(default=RegionSettings.difference_step, gt=0)
    tolerance: Annotated[Finite, IDENTITY] = Field(default=RegionSettings.tolerance, ge=0)

    def settings(self, as_published: bool) -> RegionSettings:
        """The settings of a search.

        Raises:
            UserError: an unknown method.
        """
        return RegionSettings(as_published=as_published, **self.model_dump())


class SrvrSpec(TaskSpec):
    """Semantic robustness over renders of shapes.

    Attributes:
        parameters: n semantic parameters; the first one runs along a unit of work (a row of a map).
        classes: only shapes of these classes, as the manifest calls them; all where empty.
        excluded: shapes that the default model recognises from no view (best band below 0.1): they are mapped
            and shown, but are not counted.
        renderer: ``assay``, or ``pytorch3d`` where that can be imported.
        image_size: of the renders in pixels; the network's own input where left out.
        supersampling: samples of a pixel along each side.
        normalise: whether renders pass the model's own preprocessing (the default: it is how the network was
            trained), or go in raw, as in the paper.
        function: where regions grow: on the interpolated ``map``, or, beside that, on the ``network`` itself.
        network_shapes: the shapes searched on the network itself; all where empty.
        slopes: of the network for OIR_W: central ``differences``, or ``autograd``.
        methods: how regions are grown; SRVR is the mean over them.
        periodic: the parameters that are circles for the headline, whose origin then decides nothing; the paper's own
            figure has ends there.
        labelled: a data set of labelled pictures to fit each network's temperature on; without it scores stay as they
            are, and the paper's figure is the headline. On the runtime side because its hash is in that of the data.
        initial: the points that regions grow from, coordinates in the order of ``parameters``.
        adversarial: whether regions of the complement 1 - f are grown, too.
        as_published: regions leave the domain, and never stop, as in the published code.
        contact_views: renders of each shape that are kept for the page; 0 where a licence forbids to show them.
        corruption: what is done to every render before the network sees it; none where left out. Regions then grow on
            the maps alone.
        memory_mb: bound on the renderer's temporary memory.
    """

    family: Annotated[Literal["srvr"], IDENTITY]
    parameters: Annotated[tuple[ParameterSpec, ...], IDENTITY] = Field(min_length=1)
    classes: Annotated[tuple[str, ...], IDENTITY] = ()
    excluded: Annotated[tuple[str, ...], IDENTITY] = ()
    renderer: Annotated[Literal["assay", "pytorch3d"], IDENTITY] = "assay"
    image_size: Annotated[int | None, IDENTITY] = Field(default=None, ge=8)
    supersampling: Annotated[int, IDENTITY] = Field(default=2, ge=1, le=16)
    normalise: Annotated[bool, IDENTITY] = True
    function: Annotated[Literal["map", "network"], IDENTITY] = "map"
    network_shapes: Annotated[tuple[str, ...], IDENTITY] = ()
    slopes: Annotated[Literal["differences", "autograd"], IDENTITY] = "differences"
    methods: Annotated[tuple[MethodSpec, ...], IDENTITY] = Field(min_length=1)
    initial: Annotated[tuple[tuple[float, ...], ...], IDENTITY] = Field(min_length=1)
    periodic: Annotated[tuple[str, ...], IDENTITY] = Field(default=(), exclude_if=lambda names: not names)
    labelled: Annotated[str | None, RUNTIME] = Field(default=None, exclude_if=lambda name: name is None)
    adversarial: Annotated[bool, IDENTITY] = False
    as_published: Annotated[bool, IDENTITY] = False
    contact_views: Annotated[int, IDENTITY] = Field(default=0, ge=0, le=24)
    corruption: Annotated[Corruption | None, IDENTITY] = Field(
        default=None, exclude_if=lambda how: how is None
    )
    memory_mb: Annotated[int, RUNTIME] = Field(default=16, ge=1)

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters' names."""
        return tuple(parameter.name for parameter in self.parameters)

    @property
    def axes(self) -> tuple[GridAxis, ...]:
        """The grid, in the parameters' order."""
        return tuple(parameter.axis for parameter in self.parameters)

    @property
    def view_axes(self) -> tuple[GridAxis, GridAxis]:
        """Azimuth and elevation of a spec whose :attr:`is_view_map` holds."""
        azimuth, elevation = self.axes
        return azimuth, elevation

    @property
    def domain(self) -> Domain:
        """Ω."""
        return Domain(
            self.names, tuple(p.low for p in self.parameters), tuple(p.high for p in self.parameters)
        )

    @property
    def headline_domain(self) -> Domain:
        """Ω with its circles closed."""
        return replace(self.domain, periodic=self.periodic)

    def metric_keys(self) -> tuple[str, ...]:
        """See :meth:`assay.tasks.task_spec.TaskSpec.metric_keys`."""
        methods = [method.method for method in self.methods]
        series = [CALIBRATED, "srvr"] if self.labelled else ["srvr"]
        keys = [*series, *(f"{one}:{method}" for one in series for method in methods)]
        return (*keys, "views_recognised", "mean_nsm")

    @property
    def is_view_map(self) -> bool:
        """Whether its maps lie over azimuth and elevation, as the paper's do."""
        return self.names == ("azimuth_deg", "elevation_deg")

    @model_validator(mode="after")
    def _consistent(self) -> "SrvrSpec":
        find_parameters(self.names)
        for axis, parameter in zip(self.axes, self.parameters, strict=True):
            if axis.values[-1] > parameter.high + 1e-9:
                raise ValueError(f"parameters: `last` of {axis.name} lies above `high`; lower it")
        self.domain.require_inside(self.initial)
        for name in self.periodic:
            if not any(axis.periodic for axis in self.axes if axis.name == name):
                raise ValueError(f"periodic: this task's grid of {name} does not go all the way round")
        self._check_camera()
        names = [method.settings(self.as_published).method for method in self.methods]
        if len(set(names)) != len(names):
            raise ValueError("methods: a method is given twice")
        if self.network_shapes and self.function == "map":
            raise ValueError("network_shapes: needs `function: network`")
        if self.slopes == "autograd" and self.function == "map":
            raise ValueError("slopes: autograd needs `function: network`; maps take differences")
        if self.renderer == "pytorch3d" and self.slopes == "autograd":
            raise ValueError("slopes: autograd needs `renderer: assay`")
        self._check_corruption()
        return self

    def _check_corruption(self) -> None:
        if self.corruption is None:
            return
        if self.function == "network":
            raise ValueError("corruption: regions grow on maps alone; write `function: map`")
        if self.corruption.kind == "saturate":
            raise ValueError(
                "corruption: saturate changes no grey picture, and renders are grey; choose another"
            )

    def _check_camera(self) -> None:
        for parameter in self.parameters:
            if parameter.name == "distance" and parameter.low <= MESH_RADIUS:
                raise UserError(
                    f"parameters: at distance {parameter.low:g} the camera is inside the object; "
                    f"begin above {MESH_RADIUS:.3f}"
                )
