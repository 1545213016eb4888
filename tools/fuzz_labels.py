"""Feed mutated label files of each layout to `open_dataset`, which must read or refuse them.

What it reads is held against what a data set promises, and the labels of pictures whose files are
not mutated against those of the sound data set.
"""

from __future__ import annotations

import json
import random
import re
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import cv2
import numpy as np
from mutations import (
    GROWTH,
    NUMBERS,
    SECONDS,
    Mutation,
    add,
    drop,
    flip,
    problem,
    repeat,
    splice,
)

from ghostyolo.data import Sample, open_dataset
from ghostyolo.data.header import Size
from ghostyolo.data.images import MAX_PIXELS
from ghostyolo.data.summary import summarise_split
from ghostyolo.errors import DataError

SIZES: dict[str, Size] = {"a": (48, 64), "b": (40, 40), "c": (64, 48)}  # of the pictures
BOXES = {
    "a": [(0, 4, 5, 44, 30), (1, 1, 1, 9, 12)],
    "b": [(1, 3, 3, 30, 33)],
    "c": [(0, 0, 0, 48, 64)],
}
NAMES = ("cat", "dog")
SOUND = "a"  # the picture whose own label file is never mutated
OTHERS = [stem for stem in SIZES if stem != SOUND]


class Slow(Exception):
    """A call has taken too long and was ended."""


class Target(NamedTuple):
    """A data set: what opens it, which files are mutated, and whether `SOUND` keeps its boxes."""

    path: Path
    files: list[Path]
    sound: bool = True


# --- the layouts


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _pictures(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, size in SIZES.items():
        image = np.full((*size, 3), 90, np.uint8)
        (folder / f"{stem}.jpg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes())


def _xml(stem: str) -> str:
    (h, w), database = SIZES[stem], "Unknown" if stem == "a" else "The VOC2007 Database"
    objects = "".join(
        f"  <object>\n    <name>{NAMES[cls]}</name>\n    <difficult>{cls}</difficult>\n"
        f"    <bndbox>\n      <xmin>{x1}</xmin><ymin>{y1}</ymin>\n"
        f"      <xmax>{x2}</xmax><ymax>{y2}</ymax>\n    </bndbox>\n  </object>\n"
        for cls, x1, y1, x2, y2 in BOXES[stem]
    )
    return (
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotation>\n  <filename>{stem}.jpg</filename>\n'
        f"  <source><database>{database}</database></source>\n  <size>\n    <width>{w}</width>\n"
        f"    <height>{h}</height>\n    <depth>3</depth>\n  </size>\n{objects}</annotation>\n"
    )


def _rows(stem: str) -> str:
    h, w = SIZES[stem]
    return "".join(
        f"{cls} {(x1 + x2) / 2 / w:g} {(y1 + y2) / 2 / h:g} {(x2 - x1) / w:g} {(y2 - y1) / h:g}\n"
        for cls, x1, y1, x2, y2 in BOXES[stem]
    )


def _voc(root: Path) -> list[Target]:
    """Return a VOC folder, and a folder of pictures with an XML file beside each."""
    _pictures(root / "voc/JPEGImages")
    _pictures(root / "beside")
    listed = _write(root / "voc/ImageSets/Main/train.txt", "".join(f"{stem}\n" for stem in SIZES))
    _write(root / "voc/x.names", "cat\ndog\n")
    places = root / "voc/Annotations", root / "beside"
    files = [
        {stem: _write(place / f"{stem}.xml", _xml(stem)) for stem in SIZES} for place in places
    ]
    own, beside = ([found[stem] for stem in OTHERS] for found in files)
    return [Target(root / "voc", [*own, listed]), Target(root / "beside", beside)]


def _coco(root: Path) -> list[Target]:
    _pictures(root / "images/train")
    boxes = [(number, *box) for number, stem in enumerate(SIZES) for box in BOXES[stem]]
    content = {
        "info": {"description": "painted"},
        "images": [
            {"id": number, "file_name": f"{stem}.jpg", "width": w, "height": h}
            for number, (stem, (h, w)) in enumerate(SIZES.items())
        ],
        "annotations": [
            {
                "id": number, "image_id": image, "category_id": 10 * cls + 1, "iscrowd": cls,
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": 9.5, "segmentation": [],
            }
            for number, (image, cls, x1, y1, x2, y2) in enumerate(boxes)
        ],
        "categories": [
            {"id": 10 * cls + 1, "name": name, "supercategory": "pet"}
            for cls, name in enumerate(NAMES)
        ],
    }  # fmt: skip
    text = json.dumps(content, indent=1)
    return [Target(root, [_write(root / "annotations/instances_train.json", text)], sound=False)]


def _yolo(root: Path) -> list[Target]:
    _pictures(root / "images/train")
    path = _write(root / "data.yaml", "train: images/train\nnames: [cat, dog]\n")
    files = {stem: _write(root / f"labels/train/{stem}.txt", _rows(stem)) for stem in SIZES}
    return [Target(path, [files[stem] for stem in OTHERS])]


def _darknet(root: Path) -> list[Target]:
    _pictures(root / "data/obj")
    files = {stem: _write(root / f"data/obj/{stem}.txt", _rows(stem)) for stem in SIZES}
    listed = _write(root / "data/train.txt", "".join(f"data/obj/{stem}.jpg\n" for stem in SIZES))
    names = _write(root / "data/obj.names", "cat\ndog\n")
    lines = "classes = 2\ntrain = data/train.txt\nvalid = data/train.txt\nnames = data/obj.names\n"
    path = _write(root / "obj.data", f"{lines}backup = backup/\n# a comment\n")
    return [Target(path, [*(files[stem] for stem in OTHERS), listed, listed, names, path, path])]


def _descriptions(root: Path) -> list[Target]:
    """Return a data.yaml of each kind, and a folder of pictures with classes.txt."""
    _pictures(root / "images/train")
    _pictures(root / "labelimg")
    for stem in SIZES:
        _write(root / f"labels/train/{stem}.txt", _rows(stem))
        _write(root / f"labelimg/{stem}.txt", _rows(stem))
    texts = (
        "path: .\ntrain: images/train\nval: images/train\nnc: 2\nnames: [cat, dog]\n",
        "train:\n  - images/train\n  - ./images/train\nnames:\n  0: cat\n  1: dog\n",
        '# a comment\ntrain: "../images/train"\nnames: &n\n- cat\n- "dog"\nkpt_shape: [2, 3]\n',
    )
    files = [_write(root / f"{i}.yaml", text) for i, text in enumerate(texts)]
    names = _write(root / "labelimg/classes.txt", "cat\ndog\n")
    return [*(Target(file, [file]) for file in files), Target(root / "labelimg", [names])]


LAYOUTS: dict[str, Callable[[Path], list[Target]]] = {
    "VOC": _voc, "COCO": _coco, "YOLO": _yolo, "Darknet": _darknet, "YAML and names": _descriptions
}  # fmt: skip


# --- the mutations

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, [], {}, "", "1", "0", -1, 0, 7.0, 1.5, 1e308, -1e308, 10**400, "\ud800",
    "a\0b", "x" * 5000, "../../../x.jpg", "/dev/zero", [[[]]], {"id": 1}, "\u202e", float("nan"),
)  # fmt: skip
ODD_TEXT = (
    "<!DOCTYPE a [<!ENTITY b 'c'>]>", "&b;", "<![CDATA[", "]]>", "<!--", "<object>", "</object>",
    "<a b='", "<?x ", "<name/>", "<bndbox/>", "&#0;", "&#xD800;", "&#65;",
    "&a", "*a", "*n", "<<: *n\n", "!!python/object:os.system x", "!!binary x",
    "? [a]\n", "2001-99-99",
    "{", "}", "[", "]", ": ", "- ", "|\n", "'", '"', '"\\ud800"', "\\u0000", "0x" + "f" * 5000,
    "../", "/", "/dev/zero", "~", "%s", "\\", "a" * 300, "\u2028", "\x85", "\u202e", "\u732b",
    "train = x\n", "classes = 3\n", "names = \n", "= x\n", "kpt_shape: [4, 3]\n", "nc: 3\n",
    "0 .5 .5 .2 .2 .5 .5 1 .4 .4 2\n", "1 .5 .5 .2 .2 .9 12\n", "0 .1 .1 .4 .1 .4 .4\n",
)  # fmt: skip
ENCODINGS = (
    "utf-16",
    "utf-16-be",
    "utf-32",
    "gbk",
    "shift_jis",
    "big5",
    "euc-kr",
    "utf-7",
    "cp500",
)
NUMBER = re.compile(rb"[-+]?[0-9.]+(?:e[-+]?[0-9]+)?")


def value(rng: random.Random, data: bytes) -> bytes:
    """Replace some numbers by unusual ones."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        if found := list(NUMBER.finditer(data)):
            start, end = rng.choice(found).span()
            data = data[:start] + rng.choice(NUMBERS).encode() + data[end:]
    return data


def insert(rng: random.Random, data: bytes) -> bytes:
    """Insert a piece of a format's syntax, or replace a word by it."""
    piece = rng.choice(ODD_TEXT).encode()
    if rng.random() < 0.5 and (words := list(re.finditer(rb"[^\s<>\"':,]+", data))):
        start, end = rng.choice(words).span()
        return data[:start] + piece + data[end:]
    place = rng.randrange(len(data) + 1)
    return data[:place] + piece + data[place:]


def encode(rng: random.Random, data: bytes) -> bytes:
    """Write the text in another encoding, which an XML declaration may name or not."""
    encoding = rng.choice(ENCODINGS)
    text = data.decode("utf-8", "replace").replace("cat", "\u732b")
    if rng.random() < 0.7:
        text = text.replace('encoding="utf-8"', f'encoding="{encoding}"')
    return text.encode(encoding, "replace")


def grow(rng: random.Random, data: bytes) -> bytes:
    """Repeat a part many times: deep elements and lists, long lines, many rows."""
    count = rng.choice((60, 1000, 30_000))
    piece = rng.choice((
        b"<a>", b"[", b'{"a":', b"- ", b"<object><name>cat</name></object>", b"0 .5 .5 .2 .2\n",
        b"0 .1 .1 .2 .2 ", b"&#65;", b"x", b"\n", b" ", b"<!-- -->", b"data/obj/a.jpg\n", b"a: ",
        b"9", b"cat\n",
    ))  # fmt: skip
    place = rng.choice((0, len(data), rng.randrange(len(data) + 1)))
    return data[:place] + piece * count + data[place:]


def bomb(rng: random.Random, data: bytes) -> bytes:
    """Put lists of lists, each of which names the one before ten times, into a YAML file."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    key = rng.choice(("train", "names", "nc", "path", "kpt_shape"))
    return "\n".join([*lines, f"{key}: *a11\n"]).encode() + data


def node(rng: random.Random, data: bytes) -> bytes:
    """Replace, delete or repeat a value somewhere in a JSON file."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places: list[tuple[Any, Any]] = []
    waiting = [content] if isinstance(content, dict | list) else []
    while waiting:
        parent = waiting.pop()
        keys = list(parent) if isinstance(parent, dict) else range(len(parent))
        places += [(parent, key) for key in keys]
        waiting += [parent[key] for key in keys if isinstance(parent[key], dict | list)]
    if not places:
        return data
    rng.shuffle(places)
    for parent, key in places[: rng.choice((1, 1, 2, 6))]:
        how = rng.random()
        if how < 0.7 or not isinstance(parent, dict):
            parent[key] = rng.choice(ODD_VALUES)
        elif how < 0.85:
            del parent[key]
        else:
            parent[key] = [parent[key]] * rng.choice((1, 2, 50))
    return json.dumps(content).encode()


COMMON: tuple[Mutation, ...] = (
    flip,
    splice,
    drop,
    repeat,
    value,
    value,
    insert,
    insert,
    encode,
    grow,
)
OWN: dict[str, tuple[Mutation, ...]] = {"COCO": (node,) * 10, "YAML and names": (bomb,)}


# --- the calls


def check(target: Target, split: str) -> None:
    """Read a split, and hold it against what a data set promises."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        data = open_dataset(target.path, split)
        summarise_split(data)
    for name in data.names:
        name.encode()
    for sample in data.samples:
        sound = target.sound and Path(sample.path).stem == SOUND
        if fault := fault_of(sample) or (sound and other_boxes(sample.boxes_xyxy_px)):
            raise AssertionError(f"{fault}: {sample.path} {sample.size} {sample.boxes_xyxy_px[:5]}")


def fault_of(sample: Sample) -> str:
    """Return what is wrong with the boxes or the size of a sample, "" if nothing is."""
    (h, w), boxes = sample.size, sample.boxes_xyxy_px
    low, high = boxes[:, :2], boxes[:, 2:]
    faults = {
        "size": not 0 < h * w <= MAX_PIXELS,
        "box that is not finite": not np.isfinite(boxes).all(),
        "box outside the picture": (low < 0).any() or (high > (w, h)).any(),
        "box without area": (high <= low).any(),
    }
    return next((fault for fault, there in faults.items() if there), "")


def other_boxes(boxes: np.ndarray) -> str:
    """Return a fault if a box is none of the picture whose label file is sound."""
    own = np.array([box for _, *box in BOXES[SOUND]])
    near = (np.abs(boxes[:, None] - own) < 1e-3).all(-1).any(-1)
    return "" if near.all() else "box that no label states"


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise Slow(f"more than {6 * SECONDS} s")


def fuzz_labels(
    count: int, seed: int, keep: Path, layouts: Sequence[str] = tuple(LAYOUTS)
) -> Counter[str]:
    """Read `count` mutations of each layout; return how often each result came.

    A call that takes long is ended. What showed a bug is kept in the folder `keep`.
    """
    results: Counter[str] = Counter()
    before = signal.signal(signal.SIGALRM, _too_slow)
    for layout in layouts:
        targets = LAYOUTS[layout](keep / f"labels {layout}")
        whole = {file: file.read_bytes() for target in targets for file in target.files}
        for trial in range(count):
            rng = random.Random(f"{seed} {layout} {trial}")
            target = rng.choice(targets)
            file = rng.choice(target.files)
            data = whole[file]
            for _ in range(rng.choice((1, 1, 2, 3))):
                data = rng.choice((*COMMON, *OWN.get(layout, ())))(rng, data or b"\n")
            file.write_bytes(data)
            split = rng.choice(("train", "train", "val", "all"))
            signal.setitimer(signal.ITIMER_REAL, 6 * SECONDS)  # others may use the processor
            result = problem(partial(check, target, split), DataError, GROWTH)
            signal.setitimer(signal.ITIMER_REAL, 0)
            add(results, result, keep / f"{layout}-{seed}-{trial}-{file.name}", data)
            file.write_bytes(whole[file])
    signal.signal(signal.SIGALRM, before)
    return results
