"""From the outputs of a network's heads to detections in a picture, whatever computed them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ghostyolo.boxes import Detections, cxcywh_to_xyxy, nms, xyxy_to_cxcywh
from ghostyolo.data.images import Placement, preprocess
from ghostyolo.errors import CfgError
from ghostyolo.layers import Head, LayerError
from ghostyolo.network import Network
from ghostyolo.network.outputs import classifier_output, detection_heads

# Inputs (N, 3, h, w) float32 RGB in [0, 1], in any order of memory -> the output of each head as
# Darknet holds it.
Run = Callable[[np.ndarray], Sequence[np.ndarray]]

THRESH, NMS = 0.25, 0.45  # AlexeyAB/darknet src/detector.c test_detector


class Detector:
    """Pictures in, detections out, on any runtime.

    run: computes the heads' outputs. thresh: least score. nms: the overlap above which the lower
    score falls. most: detections kept in one picture, by score. boxes: "" where `run` gives the
    outputs of heads, else the format of the boxes that it gives, see `find`.
    Raises `CfgError` for a network without heads.
    """

    def __init__(
        self,
        network: Network,
        run: Run,
        *,
        thresh: float = THRESH,
        nms: float = NMS,
        most: int | None = None,
        boxes: str = "",
    ) -> None:
        self.heads, self.boxes = heads_of(network), boxes
        self.options, self.run = network.options, run
        self.thresh, self.nms, self.most = thresh, nms, most

    def __call__(self, images: Sequence[np.ndarray]) -> list[Detections]:
        """Detect in pictures, uint8 RGB (H, W, 3) of any size; boxes are clipped to the picture."""
        size, letterbox = self.options.size, bool(self.options.letter_box)
        inputs = np.empty((len(images), *size, 3), np.float32).transpose(0, 3, 1, 2)
        pairs = zip(images, inputs, strict=True)
        places = [preprocess(image, size, letterbox, planes)[1] for image, planes in pairs]
        outputs = self.run(inputs)
        found = find(
            self.heads, outputs, places, thresh=self.thresh, iou=self.nms, boxes=self.boxes
        )
        return [
            _clipped(detections[: self.most], place)
            for detections, place in zip(found, places, strict=True)
        ]


def heads_of(network: Network) -> list[Head]:
    """Return the heads of a detector of things in pictures.

    Raises `CfgError` if it has none, one that makes no boxes, or does not take pictures.
    """
    found = []
    for node, head in detection_heads(network):
        try:
            head.check()
        except LayerError as error:
            raise CfgError(str(error), span=node.span, section=head.kind, hint=error.hint) from None
        found.append(head)
        if head.classes != found[0].classes:
            message = f"classes={head.classes}, the first head has {found[0].classes}"
            hint = "give all heads the same classes"
            raise CfgError(message, span=node.span, section=head.kind, hint=hint)
    if network.options.channels != 3:
        message = f"channels={network.options.channels}, pictures have 3"
        raise CfgError(message, section="net", hint="set channels=3")
    if not found:
        span = network[-1].span if len(network) else None
        hint = (
            "it classifies: run ghostyolo classify"
            if classifier_output(network)
            else "add a [yolo]"
        )
        raise CfgError("no detection head, so no boxes", span=span, hint=hint)
    return found


def find(
    heads: Sequence[Head],
    outputs: Sequence[np.ndarray],
    places: Sequence[Placement],
    *,
    thresh: float,
    iou: float,
    boxes: str = "",
) -> list[Detections]:
    """Decode the outputs of all heads and keep the best box of each thing, best score first.

    outputs: per head (N, C, H, W), as Darknet holds it; where `boxes` names a format, "xyxy" or
    "cxcywh", they are decoded: boxes (N, n, 4) in pixels of the input, scores (N, n, classes).
    places: per picture, where it lies in the input.

    A score is objectness times class probability; both it and the objectness must exceed `thresh`.
    Boxes may reach beyond the picture. The last head's nms_kind counts.
    Source: AlexeyAB/darknet src/network.c get_network_boxes, src/box.c do_nms_sort.
    """
    size, last = places[0].target, heads[-1]
    with np.errstate(over="ignore"):  # e^w of an untrained network
        picked = (
            [_pick_decoded(outputs, size, thresh, boxes)]
            if boxes
            else [
                head.pick(np.asarray(output), size, thresh)
                for head, output in zip(heads, outputs, strict=True)
            ]
        )
    pictures, *parts = (np.concatenate(part) for part in zip(*picked, strict=True))
    found = []
    for number, place in enumerate(places):
        own = np.flatnonzero(pictures == number)
        cxcywh, objectness, classes = (part[own] for part in parts)
        found.append(
            _suppressed(
                cxcywh, objectness, classes, place, thresh, iou, last.nms_kind, last.beta_nms
            )
        )
    return found


def _pick_decoded(
    outputs: Sequence[np.ndarray], size: tuple[int, int], thresh: float, boxes: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return what `Head.pick` does, with scores in place of classes and 1 for the objectness."""
    boxes_px, scores = outputs
    at = pictures, _ = np.nonzero(scores.max(-1) > thresh)
    picked = boxes_px[at] if boxes == "cxcywh" else xyxy_to_cxcywh(boxes_px[at])
    h, w = size
    relative = picked / np.array([w, h, w, h], np.float32)
    return pictures, relative, np.ones(len(pictures), np.float32), scores[at]


def decode(
    heads: Sequence[Head], outputs: Sequence[np.ndarray], size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the boxes, objectness and classes of all heads, in their order, see `Head.decode`."""
    with np.errstate(over="ignore"):  # e^w of an untrained network
        decoded = [
            head.decode(np.asarray(output), size)
            for head, output in zip(heads, outputs, strict=True)
        ]
    boxes, objectness, classes = (np.concatenate(part, 1) for part in zip(*decoded, strict=True))
    return boxes, objectness, classes


def _suppressed(
    cxcywh: np.ndarray,
    objectness: np.ndarray,
    classes: np.ndarray,
    place: Placement,
    thresh: float,
    iou: float,
    kind: str,
    beta: float,
) -> Detections:
    """Keep the boxes of one picture that are sure enough, finite and not suppressed."""
    sure = np.flatnonzero((objectness > thresh) & np.isfinite(cxcywh).all(1))
    scores = objectness[sure, None] * classes[sure]
    rows, labels = np.nonzero(scores > thresh)
    h, w = place.target
    input_px = cxcywh_to_xyxy(cxcywh[sure[rows]]) * np.array([w, h, w, h], np.float32)
    boxes, (source_h, source_w) = place.to_source(input_px), place.source
    relative = boxes / np.array([source_w, source_h, source_w, source_h], np.float32)
    kept = nms(relative, scores[rows, labels], labels, iou, kind, beta)
    return Detections(boxes[kept], scores[rows, labels][kept], labels[kept])


def _clipped(found: Detections, place: Placement) -> Detections:
    h, w = place.source
    boxes = np.clip(found.boxes, 0, np.array([w, h, w, h], np.float32))
    return Detections(boxes, found.scores, found.classes)
