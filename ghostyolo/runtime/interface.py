"""One interface for all runtimes: batches of pictures in, the outputs of the network out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ghostyolo import files
from ghostyolo.errors import DataError, OptionError, Span
from ghostyolo.model.classifier import Classifier
from ghostyolo.model.detector import Detector
from ghostyolo.network import Network
from ghostyolo.runtime.backend import Backend
from ghostyolo.runtime.registry import AUTO, import_runtime, installed_version, readers


class Runtime:
    """A network opened in the runtime `name`; close it, or use it in a `with` statement.

    network: at the size that is computed. class_names: () if they are not known.
    """

    def __init__(self, name: str, backend: Backend) -> None:
        self.name, self._backend = name, backend
        self.metadata = backend.metadata
        self.class_names = backend.metadata.names

    @property
    def network(self) -> Network:
        """Return the network that is computed."""
        return self.metadata.network

    @property
    def title(self) -> str:
        """Return the name and version of the runtime, as printed with every result."""
        return f"{self.name} {installed_version(self.name)}"

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the network's outputs, as Darknet holds them, for any number of inputs.

        images: (N, 3, h, w) float32, RGB in [0, 1]. A file exported with decoded boxes returns the
        boxes and scores; one with suppression returns the rows of all pictures, which are numbered
        from 0.
        Raises `OptionError` for inputs of another shape.
        """
        want = tuple(self.network.options.shape)
        if images.ndim != 4 or images.shape[1:] != want or not len(images):
            shapes = ("x".join(map(str, shape)) for shape in (images.shape, ("N", *want)))
            message = "the input is {}, the network takes {}".format(*shapes)
            raise OptionError(message, hint="fit pictures to the network's size")
        step = self._backend.batch_size or len(images)
        parts = [self._run_batch(images[at : at + step], at) for at in range(0, len(images), step)]
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _run_batch(self, images: np.ndarray, first: int) -> list[np.ndarray]:
        """Compute one batch; repeat its last picture until it has the file's batch size.

        first: the index of the first picture of the batch among all.
        """
        count, want = len(images), self._backend.batch_size or len(images)
        if count < want:
            images = np.concatenate((images, np.repeat(images[-1:], want - count, 0)))
        outputs = self._backend.compute(self.in_memory_order(images))
        if self.metadata.layout == "detections":  # rows that begin with the number of the picture
            rows = outputs[0][outputs[0][:, 0] < count]
            rows[:, 0] += first
            return [rows]
        return [output[:count] for output in outputs] if count < want else outputs

    def in_memory_order(self, images: np.ndarray) -> np.ndarray:
        """Return images (N, 3, h, w) as float32 in the memory order that the library takes."""
        channels_last = self._backend.channels_last
        if channels_last is None:
            channels_last = images.dtype != np.float32 or not images.flags.c_contiguous
        if not channels_last:
            return np.ascontiguousarray(images, np.float32)
        nhwc = images.transpose(0, 2, 3, 1)
        if nhwc.dtype != np.float32 or not nhwc.flags.c_contiguous:
            nhwc = np.empty(nhwc.shape, np.float32)
            for channel in range(images.shape[1]):  # four times as fast as one copy
                nhwc[..., channel] = images[:, channel]
        return nhwc.transpose(0, 3, 1, 2)

    def detector(self, **options: Any) -> Detector:
        """Return a detector that computes in this runtime, with the options of `Detector`.

        Raises `CfgError` for a network without heads, `OptionError` for a file with suppression.
        """
        if self.metadata.layout == "detections":
            message, hint = "the file suppresses boxes itself", "export it without --nms"
            raise OptionError(message, hint=hint)
        return Detector(self.network, self.run, boxes=self.metadata.boxes, **options)

    def classifier(self) -> Classifier:
        """Return a classifier that computes in this runtime. Raises `CfgError` for a detector."""
        return Classifier(self.network, self.run)

    def close(self) -> None:
        """Release the library's memory; nothing can be computed afterwards."""
        self._backend = self._backend._replace(compute=_closed)

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _closed(images: np.ndarray) -> list[np.ndarray]:
    raise ValueError("the runtime is closed")


def open_file(
    path: Path, name: str, size: tuple[int, int] | None, batch: int, threads: int, device: str
) -> Runtime:
    """Open an exported file in a runtime, whatever the file's suffix.

    "auto" is the first installed runtime that reads files of that suffix.

    size: (h, w) of the input, if it is dynamic in the file. Raises `DataError`, `OptionError`.
    """
    try:
        files.opened(path).close()
    except OSError as error:
        message = str(error.strerror) if path.exists() else "no such file"
        hint = "give the path of an exported file"
        raise DataError(message, span=Span(str(path)), hint=hint) from None
    if name == AUTO:
        known = readers(path)
        name = next(filter(installed_version, known), known[0])
    if name != "torch" and device not in (AUTO, "cpu"):
        message, hint = f"{name} computes on the CPU, not on {device}", "use torch with the cfg"
        raise OptionError(message, span=Span(str(path)), hint=hint)
    module = import_runtime(name)
    backend = module.open_file(path, size=size, batch=batch, threads=threads, device=device)
    return Runtime(name, backend)
