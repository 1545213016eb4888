"""Compute detections from the outputs of a network's heads, with any runtime.

A score is objectness times class probability. The confidence threshold is applied to both, to the
objectness in `Head.decode_above` and to the score in `best_above`; non-maximum suppression follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice

import numpy as np

from ghostyolo.boxes import cxcywh_to_xyxy, nms, xyxy_to_cxcywh
from ghostyolo.data.images import Placement, preprocess
from ghostyolo.data.prefetch import batches
from ghostyolo.data.tiles import Tiles
from ghostyolo.errors import CfgError, OptionError
from ghostyolo.layers import Head, LayerError
from ghostyolo.model.detections import Detections
from ghostyolo.model.tile_detections import join
from ghostyolo.network import Network
from ghostyolo.network.outputs import check_same_classes, classifier_output, detection_heads

# Inputs (N, 3, h, w) float32 RGB in [0, 1], in any memory format -> the output of each head in
# Darknet's layout.
Run = Callable[[np.ndarray], Sequence[np.ndarray]]

# The confidence threshold and the IoU threshold of non-maximum suppression.
THRESH, NMS = 0.25, 0.45  # AlexeyAB/darknet src/detector.c test_detector
# The candidates with the highest scores that NMS gets first if a number of detections is wanted.
# Only rows with a higher score suppress a row, so the first detections do not depend on the other
# candidates, which follow if too few are kept. A trained network seldom has more; one that has
# learned nothing yet has one for each box and class.
CANDIDATES = 1024
TILES = 8  # that are computed at once


class Detector:
    """Pictures in, detections out, on any runtime.

    run: computes the heads' outputs. thresh: the confidence threshold (THRESH). nms: the IoU
    threshold of NMS (NMS). max_detections: the number of detections with the highest scores that
    are kept in one picture. tiles: how pictures are divided; None for whole pictures. boxes: "" if
    `run` returns the outputs of heads, else the format of the decoded boxes that it returns, see
    `detections`. Raises `CfgError` for a network without heads, `OptionError` for a threshold out
    of range.
    """

    def __init__(
        self,
        network: Network,
        run: Run,
        *,
        thresh: float | None = None,
        nms: float | None = None,
        max_detections: int | None = None,
        tiles: Tiles | None = None,
        boxes: str = "",
    ) -> None:
        for name, value in (("thresh", thresh), ("nms", nms)):
            if value is not None and not 0 <= value <= 1:
                raise OptionError(f"{name}={value}", hint="give a number from 0 to 1")
        self.heads, self.boxes = heads_of(network), boxes
        self.options, self.run = network.options, run
        self.thresh = THRESH if thresh is None else thresh
        self.nms = NMS if nms is None else nms
        self.max_detections, self.tiles = max_detections, tiles

    @property
    def classes(self) -> int:
        """Return the number of classes."""
        return self.heads[0].classes

    @property
    def _diou_exponent(self) -> float | None:
        return self.heads[-1].diou_exponent

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detect in pictures, uint8 RGB (H, W, 3) of any size; boxes are clipped to the picture.

        Raises `OptionError` for a picture of too many tiles.
        """
        return self._in_tiles(images, self.tiles) if self.tiles else self._in_whole(images)

    def _in_tiles(self, images: Sequence[np.ndarray], tiles: Tiles) -> list[Detections]:
        divided = [tiles.of(image.shape[:2], self.options.size) for image in images]
        pairs = zip(images, divided, strict=True)
        crops = (image[y:bottom, x:right] for image, own in pairs for x, y, right, bottom in own)
        found = (each for some in batches(crops, TILES) for each in self._in_whole(some))
        joined = [
            join(list(islice(found, len(own))), own, self.nms, self._diou_exponent)
            for own in divided
        ]
        return [each[: self.max_detections] for each in joined]

    def _in_whole(self, images: Sequence[np.ndarray]) -> list[Detections]:
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
        usable, found = np.isfinite(cxcywh).all(1), []
        for number, place in enumerate(places):
            own = np.flatnonzero((pictures == number) & usable)
            scores = objectness[own, None] * probabilities[own]
            found.append(self._suppressed(cxcywh[own], scores, place))
        return found

    def _suppressed(self, cxcywh: np.ndarray, scores: np.ndarray, place: Placement) -> Detections:
        """Return the detections that NMS keeps in one picture, with boxes clipped to it.

        cxcywh: (m, 4), relative to the network's input. scores: (m, classes).
        """
        h, w = place.source
        sides, most = np.array([w, h, w, h], np.float32), self.max_detections
        count = None if most is None else CANDIDATES
        while True:
            rows, classes, best = best_above(scores, self.thresh, count)
            boxes = _in_picture(cxcywh[rows], place)
            kept = nms(boxes / sides, best, classes, self.nms, self._diou_exponent)[:most]
            if count is None or len(kept) == most or len(rows) < count:
                return Detections(np.clip(boxes[kept], 0, sides), best[kept], classes[kept])
            count *= 4


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


def best_above(
    scores: np.ndarray, thresh: float, count: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row, class and score of the candidates whose score is > thresh, (n,) each.

    scores: (m, classes). count: return only so many with the highest scores; of equal ones the
    first. A box is a candidate once for each such class.
    Source: AlexeyAB/darknet src/yolo_layer.c get_yolo_detections.
    """
    flat = scores.reshape(-1)
    places = np.flatnonzero(flat > thresh)
    values = flat[places]
    if count is not None and count < len(places):
        least = np.partition(values, -count)[-count]
        equal = np.flatnonzero(values == least)
        better = values > least
        better[equal[: count - better.sum()]] = True
        places, values = places[better], values[better]
    return *np.divmod(places, scores.shape[1]), values


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
