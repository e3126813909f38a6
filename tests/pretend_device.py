"""A device that is not there: tensors say ``pretend:0``, compute on the host, and raise where those of CUDA would.

They raise when an operation mixes devices, when ``.numpy()`` is asked of them, and when a generator is of another
device. Made with PyTorch's hook for backends that are written in Python; what a real device rounds differently, or runs
out of, is not seen here. A generator of the device draws what one of the host draws, so that trainings can be compared.
"""

from contextlib import contextmanager
from typing import ClassVar

import torch
from torch.utils import _pytree as pytree
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from assay.models import loaded

NAME = "pretend"
DEVICE = f"{NAME}:0"
_COPIES = {"aten::to", "aten::_to_copy", "aten::copy_", "aten::_copy_from"}
_INDEXED = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
_FACTORIES = (
    "tensor", "as_tensor", "eye", "arange", "linspace", "logspace", "full", "rand", "randn", "randint", "randperm",
    "zeros", "ones", "empty",
)  # fmt: skip


class PretendTensor(torch.Tensor):
    """A tensor of the device, around the host tensor that holds its numbers."""

    __module__ = "torch"  # eagerpy, and so foolbox, tells the kinds of tensors by where their type comes from

    @staticmethod
    def __new__(cls, host, requires_grad=False):
        made = torch.Tensor._make_wrapper_subclass(
            cls, host.size(), strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype,
            device=DEVICE, requires_grad=requires_grad,
        )  # fmt: skip
        made.host = host
        return made

    def __repr__(self, **_):
        return f"{NAME}({self.host})"

    def __getitem__(self, index):
        return super().__getitem__(_with_tensors(index))

    def __setitem__(self, index, values):
        super().__setitem__(_with_tensors(index), values)

    def tolist(self):
        return self.host.tolist()

    def numpy(self, *, force=False):
        if force:
            return self.host.detach().numpy()
        raise TypeError(f"can't convert {DEVICE} device type tensor to numpy; use Tensor.cpu() first")

    def __array__(self, *_, **__):
        return self.numpy()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _run(function, args, kwargs or {})


def _with_tensors(index):
    """PyTorch makes a tensor of an index's list within C++, where a device that is written in Python has no say."""
    if isinstance(index, tuple):
        return tuple(map(_with_tensors, index))
    return torch.tensor([*index], device=DEVICE) if isinstance(index, range | list) else index


def is_pretend(device):
    return device is not None and torch.device(device).type == NAME


class PretendGenerator(torch.Generator):
    """A generator of either device. Operations see it through a handle of its own, so the device keeps a list."""

    ours: ClassVar[set[int]] = set()

    def __new__(cls, device="cpu"):
        if not is_pretend(device):
            return _HOST_GENERATOR(device)
        made = super().__new__(cls)
        cls.ours.add(made._cdata)
        return made

    def __del__(self):
        self.ours.discard(self._cdata)


_HOST_GENERATOR = torch.Generator


def _generator_is_pretend(generator):
    return generator._cdata in PretendGenerator.ours


def _run(function, args, kwargs):
    """The operation on the host tensors; its result is where its inputs are, or where it is asked to be."""
    flat, shape = pytree.tree_flatten((args, kwargs))
    name = function._schema.name
    if name not in _COPIES:
        _refuse_mixed(name, flat)
    host_args, host_kwargs = pytree.tree_unflatten([_to_host(value) for value in flat], shape)
    if host_kwargs.get("pin_memory"):
        host_kwargs["pin_memory"] = False
    found = function(*host_args, **host_kwargs)
    ours = {id(value.host): value for value in flat if isinstance(value, PretendTensor)}
    there = _result_is_pretend(name, args, kwargs, flat)
    inputs = {id(_to_host(value)) for value in flat if isinstance(value, torch.Tensor)}

    def wrap(value):
        if not isinstance(value, torch.Tensor):
            return value
        if there:
            return ours.get(id(value)) if id(value) in ours else PretendTensor(value)
        return value.clone() if id(value) in inputs else value

    return pytree.tree_map(wrap, found)


def _to_host(value):
    if isinstance(value, PretendTensor):
        return value.host
    if isinstance(value, torch.device) and value.type == NAME:
        return torch.device("cpu")
    return value


def _refuse_mixed(name, flat):
    """CUDA takes numbers (tensors of no dimension) of the host, and the host's indices, beside its own tensors."""
    if not any(isinstance(value, PretendTensor) for value in flat):
        return
    host = [
        value for value in flat if isinstance(value, torch.Tensor) and not isinstance(value, PretendTensor)
    ]
    indices = (torch.int64, torch.bool, torch.uint8)
    mixed = [value for value in host if value.dim() and not (name in _INDEXED and value.dtype in indices)]
    if mixed:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {DEVICE} and cpu! ({name})"
        )
    generators = [value for value in flat if isinstance(value, _HOST_GENERATOR)]
    if not all(map(_generator_is_pretend, generators)):
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found 'cpu' ({name})")


def _result_is_pretend(name, args, kwargs, flat):
    if name == "aten::_copy_from":
        return isinstance(args[1], PretendTensor)
    asked = kwargs.get("device") or next((value for value in flat if isinstance(value, torch.device)), None)
    if asked is not None:
        return is_pretend(asked)
    return any(isinstance(value, PretendTensor) for value in flat)


def _on_device(factory):
    """CUDA's factories take a device; ours make the tensor on the host first."""

    def make(*args, device=None, **kwargs):
        if not is_pretend(device):
            return factory(*args, device=device, **kwargs) if device is not None else factory(*args, **kwargs)
        generator = kwargs.get("generator")
        if generator is not None and not _generator_is_pretend(generator):
            raise RuntimeError(
                f"Expected a '{NAME}' device type for generator but found '{generator.device}'"
            )
        return factory(*args, **kwargs).to(device)

    return make


_LIBRARIES = []


def _register():
    """Once in a process: PyTorch keeps what is registered."""
    if _LIBRARIES:
        return
    _setup_privateuseone_for_python_backend(NAME)
    getattr(torch, NAME).get_amp_supported_dtype = lambda: [torch.bfloat16]
    library = torch.library.Library("_", "IMPL", "PrivateUse1")
    library.fallback(lambda function, *args, **kwargs: _run(function, args, kwargs), "PrivateUse1")
    autocast = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    autocast.fallback(torch.library.fallthrough_kernel)
    _LIBRARIES.extend((library, autocast))


@contextmanager
def pretend_device():
    """Within it ``pretend:0`` can be named wherever a device can."""
    _register()
    before = {name: getattr(torch, name) for name in _FACTORIES}
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(
        True
    )  # a wrapper's numbers cannot be set in place
    for name, factory in before.items():
        setattr(torch, name, _on_device(factory))
    torch.Generator = PretendGenerator
    loaded.DEVICE_KINDS.add(NAME)
    try:
        yield torch.device(DEVICE)
    finally:
        loaded.DEVICE_KINDS.discard(NAME)
        torch.Generator = _HOST_GENERATOR
        torch.__future__.set_overwrite_module_params_on_conversion(overwritten)
        for name, factory in before.items():
            setattr(torch, name, factory)
