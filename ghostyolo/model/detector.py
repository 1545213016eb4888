"""Compute detections from the outputs of a network's heads, with any runtime.

A score is objectness times class probability. The confidence threshold is applied to both, see
`above_threshold`; non-maximum suppression follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ghostyolo.boxes import cxcywh_to_xyxy, nms, xyxy_to_cxcywh
from ghostyolo.data.images import Placement, preprocess
from ghostyolo.errors import CfgError, OptionError
from ghostyolo.layers import Head, LayerError
from ghostyolo.model.detections import Detections
from ghostyolo.network import Network
from ghostyolo.network.outputs import check_same_classes, classifier_output, detection_heads

# Inputs (N, 3, h, w) float32 RGB in [0, 1], in any memory format -> the output of each head in
# Darknet's layout.
Run = Callable[[np.ndarray], Sequence[np.ndarray]]

# The confidence threshold and the IoU threshold of non-maximum suppression.
THRESH, NMS = 0.25, 0.45  # AlexeyAB/darknet src/detector.c test_detector


class Detector:
    """Pictures in, detections out, on any runtime.

    run: computes the heads' outputs. thresh: the confidence threshold (THRESH). nms: the IoU
    threshold of NMS (NMS). max_detections: the number of detections with the highest scores that
    are kept in one picture. boxes: "" if `run` returns the outputs of heads, else the format of the
    decoded boxes that it returns, see `detections`. Raises `CfgError` for a network without heads,
    `OptionError` for a threshold out of range.
    """

    def __init__(
        self,
        network: Network,
        run: Run,
        *,
        thresh: float | None = None,
        nms: float | None = None,
        max_detections: int | None = None,
        boxes: str = "",
    ) -> None:
        for name, value in (("thresh", thresh), ("nms", nms)):
            if value is not None and not 0 <= value <= 1:
                raise OptionError(f"{name}={value}", hint="give a number from 0 to 1")
        self.heads, self.boxes = heads_of(network), boxes
        self.options, self.run = network.options, run
        self.thresh = THRESH if thresh is None else thresh
        self.nms = NMS if nms is None else nms
        self.max_detections = max_detections

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return self.heads[0].classes

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detect in pictures, uint8 RGB (H, W, 3) of any size; boxes are clipped to the picture."""
        size, letterbox = self.options.size, bool(self.options.letter_box)
        shape = (len(images), *size, self.options.channels)
        inputs = np.empty(shape, np.float32).transpose(0, 3, 1, 2)
        pairs = zip(images, inputs, strict=True)
        places = [preprocess(image, size, letterbox, planes)[1] for image, planes in pairs]
        return self.detections(self.run(inputs), places)

    def detections(
        self, outputs: Sequence[np.ndarray], places: Sequence[Placement]
    ) -> list[Detections]:
        """Return the detections of each picture, highest score first, from all heads' outputs.

        outputs: (N, C, H, W) for each head, in Darknet's layout; if `boxes` is a format, "xyxy" or
        "cxcywh", they are decoded: boxes (N, n, 4) in pixels of the input, scores (N, n, classes).
        places: the position of each picture in the input. The last head's nms_kind is used.
        Source: AlexeyAB/darknet src/network.c get_network_boxes, src/box.c do_nms_sort.
        """
        size = places[0].target
        with np.errstate(over="ignore"):  # e^w of an untrained network
            if self.boxes:
                above = [_above_in_decoded(outputs, size, self.thresh, self.boxes)]
            else:
                pairs = zip(self.heads, outputs, strict=True)
                above = [head.decode_above(np.asarray(x), size, self.thresh) for head, x in pairs]
        joined = (np.concatenate(part) for part in zip(*above, strict=True))
        pictures, cxcywh, objectness, probabilities = joined
        rows, classes, scores = above_threshold(objectness, probabilities, self.thresh)
        usable, found = np.isfinite(cxcywh).all(1)[rows], []
        for number, place in enumerate(places):
            own = (pictures[rows] == number) & usable
            boxes = _in_picture(cxcywh[rows[own]], place)
            found.append(self._suppressed(boxes, scores[own], classes[own], place))
        return found

    def _suppressed(
        self, boxes: np.ndarray, scores: np.ndarray, classes: np.ndarray, place: Placement
    ) -> Detections:
        """Return the detections that NMS keeps in one picture, with boxes clipped to it."""
        h, w = place.source
        sides = np.array([w, h, w, h], np.float32)
        kept = nms(boxes / sides, scores, classes, self.nms, self.heads[-1].diou_exponent)
        kept = kept[: self.max_detections]
        return Detections(np.clip(boxes[kept], 0, sides), scores[kept], classes[kept])


def heads_of(network: Network) -> list[Head]:
    """Return the heads of a detector.

    Raises `CfgError` if there is none, if a head cannot be decoded into boxes, if heads differ in
    their classes, or if the input is not a colour picture.
    """
    found = []
    for node, head in detection_heads(network):
        try:
            head.check_boxes()
        except LayerError as error:
            raise node.error(error) from None
        found.append(head)
    check_same_classes(network)
    check_takes_pictures(network)
    if not found:
        classifies = "it classifies: run ghostyolo classify"
        hint = classifies if classifier_output(network) else "add a [yolo]"
        span = network[-1].span if len(network) else None
        raise CfgError("no detection head, so no boxes", span=span, hint=hint)
    return found


def check_takes_pictures(network: Network) -> None:
    """Raise `CfgError` unless a network takes colour pictures or grey ones."""
    if network.options.channels not in (1, 3):
        message = f"channels={network.options.channels}, pictures have 3, or 1 in grey"
        raise CfgError(message, section="net", hint="give a network for pictures")


def above_threshold(
    objectness: np.ndarray, probabilities: np.ndarray, thresh: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Apply the confidence threshold: return row, class and score of each detection, (n,) each.

    objectness: (m,). probabilities: (m, classes). A box is kept if its objectness > thresh, and
    then for each class whose score, objectness * class probability, is > thresh. Heads apply the
    first condition before they decode boxes, see `Head.decode_above`.
    Source: AlexeyAB/darknet src/yolo_layer.c get_yolo_detections.
    """
    candidates = np.flatnonzero(objectness > thresh)
    scores = objectness[candidates, None] * probabilities[candidates]
    rows, classes = np.nonzero(scores > thresh)
    return candidates[rows], classes, scores[rows, classes]


def _above_in_decoded(
    outputs: Sequence[np.ndarray], size: tuple[int, int], thresh: float, boxes: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return decoded boxes like `Head.decode_above`, with objectness 1 and scores as classes."""
    boxes_px, scores = outputs
    at = pictures, _ = np.nonzero(scores.max(-1) > thresh)
    found = boxes_px[at] if boxes == "cxcywh" else xyxy_to_cxcywh(boxes_px[at])
    h, w = size
    relative = found / np.array([w, h, w, h], np.float32)
    return pictures, relative, np.ones(len(pictures), np.float32), scores[at]


def decode(
    heads: Sequence[Head], outputs: Sequence[np.ndarray], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes, objectness and class probabilities of all heads, see `Head.decode`."""
    pairs = zip(heads, outputs, strict=True)
    with np.errstate(over="ignore"):  # e^w of an untrained network
        decoded = [head.decode(np.asarray(output), size) for head, output in pairs]
    boxes, objectness, classes = (np.concatenate(part, 1) for part in zip(*decoded, strict=True))
    return boxes, objectness, classes


def _in_picture(cxcywh: np.ndarray, place: Placement) -> np.ndarray:
    """Return boxes relative to the network's input as (n, 4) xyxy in pixels of the picture."""
    h, w = place.target
    return place.to_source(cxcywh_to_xyxy(cxcywh) * np.array([w, h, w, h], np.float32))
