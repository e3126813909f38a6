"""The process that computes: versions, commit, device, driver, precision, threads."""

import os
import platform
import subprocess
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

_PACKAGES = ("assay", "torch", "torchvision", "timm", "numpy", "scipy", "foolbox", "ray")


@lru_cache(maxsize=8)
def environment(device: str) -> dict[str, Any]:
    """Versions, commit, device, driver, precision and thread settings of the process that computes."""
    import torch

    return {
        "packages": {name: version_of(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "commit": _commit(),
        "device": device_name(device),
        "cuda": _cuda() if device.startswith("cuda") else None,
        "threads": torch.get_num_threads(),
        "tf32": torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cpu_count": os.cpu_count(),
        "host": platform.node(),
    }


def _cuda() -> dict[str, Any]:
    """Versions of CUDA, cuDNN and the driver (the last as its own tool says it)."""
    import torch

    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    driver = (_output(query) or "").split("\n")[0]
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    return {"runtime": torch.version.cuda, "cudnn": cudnn, "driver": driver or None}


def device_name(device: str) -> str:
    """The device in words."""
    if device.startswith("cuda"):
        import torch

        return str(torch.cuda.get_device_name(device))
    return platform.processor() or platform.machine()


def version_of(package: str) -> str | None:
    """The installed version of a package; None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> dict[str, Any] | None:
    """The commit of the checkout that this package runs from, or None when it was installed from a wheel."""
    folder = Path(__file__).resolve().parent
    head = _git(folder, "rev-parse", "HEAD")
    return None if head is None else {"sha": head, "dirty": bool(_git(folder, "status", "--porcelain"))}


def _git(folder: Path, *arguments: str) -> str | None:
    return _output(["git", "-C", str(folder), *arguments])


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
