"""Damaged data sets: each defect is named and counted, nothing stops half-way, the good arrive."""

from __future__ import annotations

import json
import struct
from collections import Counter
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from ghostyolo.augment.batches import Batches
from ghostyolo.augment.detection import NONE, Augmentation
from ghostyolo.data import open_dataset

H, W = 48, 64
NAMES = ("cat", "dog")
GOOD = {"a": 60, "b": 120, "c": 180}  # the grey of each picture that is always there and sound
BAD = 240  # that of the one that is damaged, or whose label is
BOX = (8, 8, 40, 32)
STRONG = Augmentation(
    jitter=0.3, resize=1.5, flip=True, hue=0.1, saturation=1.5, exposure=1.5,
    mosaic=0.5, mixup=0.5, blur=3, gaussian_noise=5,
)  # fmt: skip


def encoded(image, suffix=".jpg"):
    return cv2.imencode(suffix, image)[1].tobytes()


def plane(grey, size=(H, W), channels=3, dtype=np.uint8):
    return np.full((*size, channels), grey, dtype)


SOUND = encoded(plane(BAD))


def by_pillow(mode, format_, size=(W, H), **options):
    """Encode what OpenCV does not write."""
    file = BytesIO()
    Image.new("RGB", size, (BAD,) * 3).convert(mode).save(file, format_, **options)
    return file.getvalue()


def sideways(data, orientation=6):
    """Put an EXIF orientation into a JPEG."""
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


# --- three layouts of the same: pictures a, b, c with one box each, and `bad`


def yolo(root, boxes=(BOX,), picture=SOUND, suffix=".jpg", label=None, cls=0):
    lines = [
        f"{cls} {(x1 + x2) / 2 / W} {(y1 + y2) / 2 / H} {(x2 - x1) / W} {(y2 - y1) / H}\n"
        for x1, y1, x2, y2 in boxes
    ]
    labels = dict.fromkeys(GOOD, "1 .5 .5 .5 .5\n")
    labels["bad"] = "".join(lines) if label is None else label
    for stem, text in labels.items():
        if text is not ...:
            write(root / f"labels/train/{stem}.txt", text)
    for stem, grey in GOOD.items():
        write(root / f"images/train/{stem}.jpg", encoded(plane(grey)))
    if picture is not None:
        write(root / f"images/train/bad{suffix}", picture)
    listed = [f"images/train/{stem}.jpg" for stem in GOOD] + [f"images/train/bad{suffix}"]
    write(root / "train.txt", "\n".join(listed))
    write(root / "data.yaml", "train: train.txt\nnames: [cat, dog]\n")
    return root / "data.yaml"


def xml(boxes, name="dog", more="", size=(W, H)):
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox>{more}</object>\n"
        for x1, y1, x2, y2 in boxes
    )
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>"
    return f"<annotation>\n{stated}\n{objects}</annotation>"


def voc(root, boxes=(BOX,), picture=SOUND, suffix=".jpg", label=None, cls=0, more="", size=(W, H)):
    for stem, grey in GOOD.items():
        write(root / f"JPEGImages/{stem}.jpg", encoded(plane(grey)))
        write(root / f"Annotations/{stem}.xml", xml([BOX]))
    if label is not ...:
        name = NAMES[cls] if cls in (0, 1) else f"class {cls}"
        label = xml(boxes, name, more, size) if label is None else label
        write(root / "Annotations/bad.xml", label)
    if picture is not None:
        write(root / f"JPEGImages/bad{suffix}", picture)
    write(root / "ImageSets/Main/train.txt", "".join(f"{stem}\n" for stem in (*GOOD, "bad")))
    write(root / "x.names", "cat\ndog\n")
    return root


def coco(root, boxes=(BOX,), picture=SOUND, suffix=".jpg", cls=0, more=(), size=(W, H)):
    stems = {**{stem: f"{stem}.jpg" for stem in GOOD}, "bad": f"bad{suffix}"}
    images = [{"id": i, "file_name": name} for i, name in enumerate(stems.values())]
    for image in images:
        image["width"], image["height"] = size if image["id"] == 3 else (W, H)
    owned = [(i, BOX, 1) for i in range(3)] + [(3, box, cls) for box in boxes]
    annotations = [
        {"id": n, "image_id": i, "category_id": c, "bbox": [x1, y1, x2 - x1, y2 - y1]}
        for n, (i, (x1, y1, x2, y2), c) in enumerate(owned)
    ]
    for extra in more:
        annotations.append({"image_id": 3, "category_id": 0} | extra)
    for stem, grey in GOOD.items():
        write(root / f"images/train/{stem}.jpg", encoded(plane(grey)))
    if picture is not None:
        write(root / f"images/train/bad{suffix}", picture)
    content = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": i, "name": name} for i, name in enumerate(NAMES)]
    write(root / "annotations/instances_train.json", json.dumps(content))
    return root


LAYOUTS = {"yolo": yolo, "voc": voc, "coco": coco}
nan, inf = float("nan"), float("inf")

# Boxes that any layout can hold: boxes of the damaged picture, defects, how many boxes are left.
BOXES = {
    "zero size": ([BOX, (8, 8, 8, 32), (9, 9, 30, 9)], {"zero-size box": 2}, 1),
    "negative size": ([BOX, (40, 8, 8, 32)], {"negative-size box": 1}, 1),
    "outside": ([(70, 8, 90, 20), (-9, -9, -2, -2)], {"box outside the picture": 2}, 0),
    "over the edge": ([(-9, -9, 99, 99)], {"box clipped to the picture": 1}, 1),
    "not a number": ([BOX, (nan, 8, 40, 32)], {"box that is not finite": 1}, 1),
    "infinite": ([BOX, (8, 8, inf, 32)], {"box that is not finite": 1}, 1),
    "duplicate": ([BOX, BOX, (8, 8, 40, 33)], {"duplicate box": 1}, 2),
    "tiny": ([(8, 8, 8.5, 8.5)], {}, 1),
    "none": ([], {}, 0),
}
SIZE = {"picture of another size than its label says": 1}
UNPARSED = {"unreadable label file": 1}
# What only one layout can be damaged by.
SPECIAL = {
    "yolo malformed": (yolo, {"label": "0 .5 .5 .2\ncat .5 .5 .2 .2\n\0\n0 .5 .5 .2 .2\n"}, 3, 1),
    "yolo polygon": (yolo, {"label": "0 .1 .1 .5 .1 .5 .5\n"}, {"polygon taken as its box": 1}, 1),
    "yolo bom and crlf": (yolo, {"label": b"\xef\xbb\xbf0 .5 .5 .2 .2\r\n\r\n"}, {}, 1),
    "yolo no objects": (yolo, {"label": ""}, {}, 0),
    "yolo one pixel": (yolo, {"picture": by_pillow("RGB", "PNG", (1, 1)), "suffix": ".png"}, {}, 1),
    "yolo no label file": (yolo, {"label": ...}, {"missing label file": 1}, 0),
    "voc malformed": (voc, {"boxes": [BOX, ("five", 8, 40, 32)]}, 1, 1),
    "voc no label file": (voc, {"label": ...}, {"missing label file": 1}, None),
    "voc another size": (voc, {"size": (200, 100), "boxes": [BOX, (70, 60, 190, 90)]}, SIZE, 2),
    "voc absurd size": (voc, {"size": (10**9, 10**9)}, SIZE, 1),
    "voc no size": (voc, {"size": (0, "wide")}, {}, 1),
    "voc difficult": (voc, {"more": "<difficult>1</difficult>"}, {}, 0),
    "voc bom and crlf": (
        voc,
        {"label": b"\xef\xbb\xbf<annotation>\r\n<object><name>cat</name></object></annotation>"},
        1,
        0,
    ),
    "voc cut off": (voc, {"label": xml([BOX])[:-9]}, UNPARSED, None),
    "voc of no bytes": (voc, {"label": ""}, UNPARSED, None),
    "coco malformed": (coco, {"more": [{}, {"bbox": [1, 2]}, {"bbox": "x"}, {"bbox": None}]}, 4, 1),
    "coco crowd": (coco, {"more": [{"bbox": [9, 9, 9, 9], "iscrowd": 1}]}, {}, 1),
    "coco no category": (coco, {"more": [{"bbox": BOX, "category_id": None}]}, 1, 1),
    "coco another size": (coco, {"size": (100, 40)}, SIZE, 1),
    "coco stray": (
        coco,
        {"more": [{"bbox": [1, 1, 9, 9], "image_id": 99}]},
        {"box of no listed picture": 1},
        1,
    ),
}
# A sound head, then a last chunk that states 4 GB: a decoder that believes it takes 4 GB.
HUGE_CHUNK = encoded(plane(BAD), ".png")[:33] + b"\xf0\0\0\0IEND"
# Pictures: bytes, suffix, whether they can be used, or what is counted though they can.
PICTURES = {
    "missing": (None, ".jpg", False),
    "of no bytes": (b"", ".jpg", False),
    "text": (b"<html>404</html>", ".jpg", False),
    "truncated jpeg": (SOUND[: len(SOUND) * 2 // 3], ".jpg", False),
    "truncated png": (encoded(plane(BAD), ".png")[:-30], ".png", False),
    "png that states 4 GB": (HUGE_CHUNK, ".png", False),
    "header only": (encoded(plane(BAD), ".png")[:33], ".png", False),
    "png named jpg": (encoded(plane(BAD), ".png"), ".jpg", True),
    "grey": (encoded(plane(BAD, channels=1)), ".jpg", "grey picture, read as RGB"),
    "grey png": (encoded(plane(BAD, channels=1), ".png"), ".png", "grey picture, read as RGB"),
    "16 bit": (
        encoded(plane(BAD * 257, dtype=np.uint16), ".png"),
        ".png",
        "picture of 16 bits, read as 8",
    ),
    "transparent": (encoded(plane(BAD, channels=4), ".png"), ".png", True),
    "palette": (by_pillow("P", "PNG"), ".png", True),
    "cmyk": (by_pillow("CMYK", "JPEG"), ".jpg", "CMYK picture, read as RGB"),
    "progressive": (by_pillow("RGB", "JPEG", progressive=True), ".jpg", True),
    "turned by exif": (
        sideways(encoded(plane(BAD, (W, H)))),
        ".jpg",
        "picture turned upright, as its EXIF says",
    ),
}


def defect_of(data, usable):
    """Return what is counted of one of `PICTURES`, nothing if all is well."""
    if usable:
        return "" if usable is True else usable
    return "missing picture" if data is None else "unreadable picture"


def check(place, defects, left=None, *, usable=True, workers=0):
    """Hold a damaged data set to what is promised, and return it.

    defects: all that is counted, at the opening or later. left: boxes of the damaged picture that
    are trained on. usable: whether it can be shown.
    """
    dataset = open_dataset(place, "train")
    kept = {Path(sample.path).stem: sample for sample in dataset.samples}
    assert left is None or (~kept["bad"].ignore).sum() == left
    h, w = size = (32, 64)
    batches = Batches(
        dataset, lambda i: STRONG if i < 4 else NONE, len(dataset), size, workers=workers
    )
    for i, (images, truths) in enumerate(batches.iterate(0, 6)):
        slots, boxes, classes = truths[:, 0], truths[:, 1:5], truths[:, 5]
        assert images.isfinite().all() and boxes.isfinite().all()
        assert (boxes >= 0).all() and (boxes <= 1).all()
        assert (boxes[:, 2] * w > 0.99).all() and (boxes[:, 3] * h > 0.99).all()
        assert {*classes.tolist()} <= {0, 1} and {*slots.tolist()} <= {*range(len(images))}
        if i >= 4:  # an epoch of unchanged pictures
            shown = (images.mean((1, 2, 3)) * 255).tolist()
            expected = [*GOOD.values()] + [BAD] * usable
            assert all(min(abs(grey - seen) for seen in shown) < 3 for grey in expected), shown
    assert dataset.defects == defects
    return dataset


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", BOXES)
def test_damaged_boxes(case, layout, tmp_path):
    boxes, defects, left = BOXES[case]
    check(LAYOUTS[layout](tmp_path, boxes=boxes), defects, left)


@pytest.mark.parametrize("case", SPECIAL)
def test_damaged_labels(case, tmp_path):
    layout, changes, defects, left = SPECIAL[case]
    defects = {"malformed label": defects} if isinstance(defects, int) else defects
    check(layout(tmp_path, **changes), defects, left, usable=left is not None)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", PICTURES)
def test_damaged_pictures(case, layout, tmp_path):
    data, suffix, usable = PICTURES[case]
    place = LAYOUTS[layout](tmp_path, picture=data, suffix=suffix)
    defect = defect_of(data, usable)
    check(place, {defect: 1} if defect else {}, usable=bool(usable))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("cls", [7, -1])
def test_a_box_of_a_class_that_nobody_named_is_left_out_and_told_with_its_line(
    cls, layout, tmp_path, caplog
):
    place = LAYOUTS[layout](tmp_path, cls=cls)
    check(place, {"box of unknown class": 1}, 0)
    line = {"yolo": "bad.txt:1", "voc": "bad.xml:3", "coco": "instances_train.json"}[layout]
    (told,) = caplog.messages
    assert f"{line}: unknown class" in told and str(cls) in told
    assert told.endswith("use one of: cat, dog; or give all names with --names")


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_that_fail_after_the_opening_are_replaced(workers, tmp_path, caplog):
    dataset = open_dataset(yolo(tmp_path), "train")
    by_stem = {Path(sample.path).stem: Path(sample.path) for sample in dataset.samples}
    by_stem["a"].unlink()
    by_stem["b"].write_bytes(SOUND[:-50])
    batches = Batches(dataset, STRONG, 5, (32, 32), workers=workers)
    assert len(list(batches.iterate(0, 8))) == 8
    assert dataset.defects == {"unreadable picture": 2}
    messages = caplog.messages
    assert len(messages) == 2
    assert any("a.jpg: cannot read" in message for message in messages)
    assert any("b.jpg: not a picture, or truncated" in message for message in messages)


@pytest.mark.parametrize("workers", [0, 2])
def test_all_damage_at_once_is_counted_and_trained_around(workers, tmp_path):
    """One folder with every damaged box, label line and picture that a YOLO data set can have."""
    place = yolo(tmp_path, boxes=[box for boxes, _, _ in BOXES.values() for box in boxes])
    expected = sum((Counter(defects) for _, defects, _ in BOXES.values()), Counter())
    listed = [(tmp_path / "train.txt").read_text()]
    for i, (data, suffix, usable) in enumerate(PICTURES.values()):
        name = f"images/train/p{i}{suffix}"
        listed.append(name)
        write(tmp_path / f"labels/train/p{i}.txt", "1 .5 .5 .5 .5\n")
        if data is not None:
            write(tmp_path / name, data)
        if defect := defect_of(data, usable):
            expected[defect] += 1
    write(tmp_path / "train.txt", "\n".join(listed))
    expected["duplicate box"] = sum(boxes.count(BOX) for boxes, _, _ in BOXES.values()) - 1
    check(place, expected, workers=workers)
