"""The tasks of a server: detection, or classification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ghostyolo.data.tiles import Tiles
from ghostyolo.model.classifier import check_no_boxes
from ghostyolo.model.detections import Detections
from ghostyolo.model.detector import NMS, THRESH
from ghostyolo.network.outputs import classifier_output
from ghostyolo.prediction.predict import Row, classified, detected
from ghostyolo.runtime.interface import Runtime
from ghostyolo.serve.batcher import Compute

MAX_DETECTIONS = 300  # in one answer


class DetectOptions(NamedTuple):
    """The options of a detection request, see `Detector`."""

    thresh: float = THRESH
    nms: float = NMS


class ClassifyOptions(NamedTuple):
    """The options of a classification request. top: number of most probable classes."""

    top: int = 5


Options = DetectOptions | ClassifyOptions
# The lowest and the highest value of each option. At a lower confidence threshold an untrained
# network would give so many boxes that all other requests have to wait.
RANGES = {"thresh": (0.01, 1.0), "nms": (0.0, 1.0), "top": (1, 1000)}


class Task(NamedTuple):
    """How requests are computed and answered.

    name: of the route. compute: returns a result for each picture. shown: returns that result as a
    part of the picture's row. defaults: the options of a request without options.
    """

    name: str
    compute: Compute
    shown: Callable[[Any, Any], Row]
    defaults: Options


def task_of(
    runtime: Runtime,
    names: Sequence[str] = (),
    *,
    thresh: float | None = None,
    nms: float | None = None,
    tiles: Tiles | None = None,
) -> Task:
    """Return the task of the network of a runtime: classification or detection.

    names: of the classes; a class without a name is shown by its number. thresh, nms: defaults of
    requests. tiles: see `Detector`. Runs the network once, since the first run is slower. Raises
    `CfgError` for a network that is neither a classifier nor a detector, `OptionError` for
    thresholds or tiles of a classifier.
    """
    black = np.zeros((*runtime.network.options.size, 3), np.uint8)
    if classifier_output(runtime.network):
        check_no_boxes(thresh=thresh, nms=nms, tile=tiles)
        classifier = runtime.classifier()
        classifier([black])
        return classification(lambda images, options: list(classifier(images)), names)

    def detect(images: Sequence[np.ndarray], options: DetectOptions) -> list[Detections]:
        return runtime.detector(max_detections=MAX_DETECTIONS, tiles=tiles, **options._asdict())(
            images
        )

    detect([black], DetectOptions(thresh=1.0))
    defaults = DetectOptions(THRESH if thresh is None else thresh, NMS if nms is None else nms)
    return detection(detect, names, defaults)


def detection(
    compute: Compute,
    names: Sequence[str],
    defaults: DetectOptions = DetectOptions(),  # noqa: B008
) -> Task:
    """Return the task of detection."""

    return Task("detect", compute, lambda found, options: detected(found, names), defaults)


def classification(compute: Compute, names: Sequence[str]) -> Task:
    """Return the task of classification."""

    def shown(probabilities: np.ndarray, options: ClassifyOptions) -> Row:
        return classified(probabilities, names, options.top)

    return Task("classify", compute, shown, ClassifyOptions())
