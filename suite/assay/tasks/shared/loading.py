"""Pictures as networks read them, decoded in the background while the network computes.

A family says which pictures a unit reads (:meth:`assay.tasks.base.Task.pictures`) and takes them from its run's
:class:`Loader`. The runner has the pictures of this chunk and the next loaded ahead. Only time depends on this: a
picture that was not loaded ahead is loaded when it is taken, and errors are raised there too.
"""

from collections.abc import Hashable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from assay.tasks.shared.clock import Clock, HostClock

if TYPE_CHECKING:
    from torch import Tensor

    from assay.data.dataset import Dataset, Sample
    from assay.models.loaded import LoadedModel

CPU_THREADS = 1  # a second one takes time from the network more than it saves
CUDA_THREADS = 2  # the host has little else to do
MOST_AHEAD = 64  # pictures that wait to be taken: 40 MB of 224 x 224


@dataclass(frozen=True)
class LoadedPicture:
    """One image of a data set as one model reads it."""

    model: "LoadedModel"
    data: "Dataset"
    sample: "Sample"

    @property
    def key(self) -> Hashable:
        """What decides the pixels, and the text of an error."""
        info = self.model.info
        return self.data.sha256, self.sample.unit_id, info.name, info.input_shape, info.preprocessing

    def load(self) -> "Tensor":
        """(C, H, W) float32 in [0, 1], on the CPU.

        Raises:
            UserError: the picture cannot be decoded, or is none for this model.
        """
        return self.model.prepare(self.data.image(self.sample))


class Prefetcher:
    """Loads expected pictures in threads, in their order, while at most ``most`` of them wait to be taken.

    The threads begin with the first picture that is expected. Used by one thread.
    """

    def __init__(self, most: int = MOST_AHEAD) -> None:
        self._most = most
        self._pool: ThreadPoolExecutor | None = None
        self._device = "cpu"
        self._expected: dict[Hashable, LoadedPicture] = {}
        self._begun: dict[Hashable, Future[Tensor]] = {}

    def expect(self, pictures: Iterable[LoadedPicture], device: str = "cpu") -> None:
        """Load these ahead for ``device``; what was expected before and is not among them is dropped."""
        self._device = device
        wanted = {picture.key: picture for picture in pictures}
        for key in self._begun.keys() - wanted.keys():
            self._begun.pop(key).cancel()
        self._expected = {key: picture for key, picture in wanted.items() if key not in self._begun}
        self._begin()

    def take(self, picture: LoadedPicture) -> "Tensor":
        """The picture, loaded here where no thread has begun it.

        Raises:
            UserError: as :meth:`LoadedPicture.load`.
        """
        key = picture.key
        self._expected.pop(key, None)
        future = self._begun.pop(key, None)
        self._begin()
        if future is None or future.cancel():
            return picture.load()
        return future.result()

    def close(self) -> None:
        """Drop everything; a thread ends with the picture that it is at."""
        self.expect(())
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def _begin(self) -> None:
        while self._expected and len(self._begun) < self._most:
            if self._pool is None:
                threads = CUDA_THREADS if self._device.startswith("cuda") else CPU_THREADS
                self._pool = ThreadPoolExecutor(threads, thread_name_prefix="assay-loader")
            key = next(iter(self._expected))
            self._begun[key] = self._pool.submit(_loaded_for, self._device, self._expected.pop(key))


def _loaded_for(device: str, picture: LoadedPicture) -> "Tensor":
    """The picture; in pinned memory if it goes to a GPU, so that copies do not hold up the host."""
    image = picture.load()
    if not device.startswith("cuda"):
        return image
    import torch

    torch.cuda.set_device(device)  # pinning opens the thread's current device
    return image.pin_memory()


class Loader:
    """What a run takes its pictures from; notes how long the device waited for them."""

    def __init__(self, prefetcher: Prefetcher | None = None, clock: Clock | None = None) -> None:
        self._prefetcher = prefetcher or Prefetcher()
        self._clock = clock or HostClock()
        self._waits: list[tuple[Any, Any]] = []

    def batch(self, pictures: Sequence[LoadedPicture], device: str) -> "Tensor":
        """(N, C, H, W) float32 in [0, 1] on ``device``.

        Raises:
            UserError: one of them cannot be loaded.
        """
        began = self._clock.mark()
        images = _together([self._prefetcher.take(picture) for picture in pictures], device)
        self._waits.append((began, self._clock.mark()))
        return images

    def waited_seconds(self) -> float:
        """How long the device had nothing to do but to wait for pictures so far: on a CPU, how long loading held up."""
        return sum(self._clock.seconds(began, ended) for began, ended in self._waits)


def _together(images: Sequence["Tensor"], device: str) -> "Tensor":
    import torch

    if not device.startswith("cuda"):
        return torch.stack(list(images)).to(device)
    batch = torch.empty((len(images), *images[0].shape), device=device)
    for row, image in zip(batch, images, strict=True):
        row.copy_(image, non_blocking=True)  # torch keeps pinned memory until its copy is done
    return batch
