"""A network that some program computes: inputs in, the outputs of its heads out."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ghostyolo.errors import OptionError
from ghostyolo.model.classifier import Classifier
from ghostyolo.model.detector import Detector
from ghostyolo.network import Network
from ghostyolo.network.metadata import Metadata


class Engine(Protocol):
    """What a program has to offer: the module of each has such a class.

    metadata: of the network as it is computed. batch: how many pictures every call takes, 0 for any
    number. channels_last: whether the channels of a place lie together in memory in the pictures
    that it takes, else each is a plane; None for both: it copies planes itself, and lets the copy
    go after its first use. Called with (N, 3, h, w) float32, it returns the outputs as
    `metadata.layout` says, in arrays that nobody else writes to and that lie in any order.
    """

    metadata: Metadata
    batch: int
    channels_last: bool | None

    def __call__(self, images: np.ndarray) -> list[np.ndarray]: ...

    def close(self) -> None: ...


class Runtime:
    """A network in the program `name`, to be closed or used as a context.

    network: with the size that is computed. names: of the classes, () where they are not known.
    """

    def __init__(self, name: str, engine: Engine) -> None:
        self.name, self._engine = name, engine
        self.metadata = engine.metadata
        self.names = engine.metadata.names

    @property
    def network(self) -> Network:
        """Return the network that is computed."""
        return self.metadata.network

    def run(self, images: np.ndarray) -> list[np.ndarray]:
        """Return the outputs of the heads, as Darknet holds them, for any number of inputs.

        images: (N, 3, h, w) float32, RGB in [0, 1]. Of a file that decodes its boxes, the outputs
        are those of the file; of one that suppresses them, the rows of all pictures, numbered from
        0. Raises `OptionError` for inputs of another shape.
        """
        want = tuple(self.network.options.shape)
        if images.ndim != 4 or images.shape[1:] != want or not len(images):
            shapes = ("x".join(map(str, shape)) for shape in (images.shape, ("N", *want)))
            message = "the input is {}, the network takes {}".format(*shapes)
            raise OptionError(message, hint="fit pictures to the network's size")
        step = self._engine.batch or len(images)
        parts = [self._some(images[at : at + step], at) for at in range(0, len(images), step)]
        if len(parts) == 1:
            return parts[0]
        return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]

    def _some(self, images: np.ndarray, first: int) -> list[np.ndarray]:
        """Compute one batch, filled up with its last picture where the program wants more.

        first: the number of its first picture among all.
        """
        count, want = len(images), self._engine.batch or len(images)
        if count < want:
            images = np.concatenate((images, np.repeat(images[-1:], want - count, 0)))
        outputs = self._engine(self.arranged(images))
        if self.metadata.layout == "detections":  # rows, each with its picture's number
            rows = outputs[0][outputs[0][:, 0] < count]
            rows[:, 0] += first
            return [rows]
        return [output[:count] for output in outputs] if count < want else outputs

    def arranged(self, images: np.ndarray) -> np.ndarray:
        """Return (N, 3, h, w) as float32 that lie in memory as the program takes them."""
        channels_last = self._engine.channels_last
        if channels_last is None:
            channels_last = images.dtype != np.float32 or not images.flags.c_contiguous
        if not channels_last:
            return np.ascontiguousarray(images, np.float32)
        own = images.transpose(0, 2, 3, 1)
        if own.dtype != np.float32 or not own.flags.c_contiguous:
            own = np.empty(own.shape, np.float32)
            for channel in range(images.shape[1]):  # in a quarter of the time of one copy
                own[..., channel] = images[:, channel]
        return own.transpose(0, 3, 1, 2)

    def detector(self, **options: Any) -> Detector:
        """Return the function from pictures to detections, with the options of `Detector`.

        Raises `CfgError` for a network without heads, `OptionError` for a file that suppresses.
        """
        if self.metadata.layout == "detections":
            message, hint = "the file suppresses boxes itself", "export it without --nms"
            raise OptionError(message, hint=hint)
        return Detector(self.network, self.run, boxes=self.metadata.boxes, **options)

    def classifier(self) -> Classifier:
        """Return the function from pictures to probabilities. Raises `CfgError` for a detector."""
        return Classifier(self.network, self.run)

    def close(self) -> None:
        """Let go of the program's memory."""
        self._engine.close()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
