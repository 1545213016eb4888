"""The hold-out: the part of train that stands in for a split val that a data set lacks."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ghostyolo.data.dataset import Dataset, Sample
from ghostyolo.data.duplicates import copies, length_of
from ghostyolo.data.splits import MissingSplit, canonical, draw, warn_of_val, without_year

HOLD_OUT = "hold-out"  # `Dataset.split` of such a part


def read_split(read: Callable[[str], Dataset], split: str, *, by_class: bool = False) -> Dataset:
    """Read a split; for val of a data set of only train, or train and test, read its hold-out.

    read: reads a split by its name. by_class: see `hold_out`. A hold-out is logged.
    """
    try:
        return read(split)
    except MissingSplit as missing:
        present = set(map(without_year, missing.present))
        if canonical(split) != "val" or present not in ({"train"}, {"train", "test"}):
            raise
        whole = read("train")
        part = hold_out(whole, by_class=by_class)
        if not part:
            raise
    pictures, rest = f"the {len(whole)} pictures of train", len(whole) - len(part)
    warn_of_val(whole.path, "no split val", len(part), pictures, rest, "add a split val")
    return part


def hold_out(train: Dataset, *, by_class: bool = False) -> Dataset:
    """Return one picture in five of a split, drawn by their paths below their common folder.

    What Roboflow made of one picture (NAME.rf.HASH.jpg) counts as one, and files with the same
    bytes as one of these follow it. by_class: draw from each class of the data of a classifier.
    """
    paths = [os.path.abspath(sample.path) for sample in train.samples]
    root = os.path.commonpath([os.path.dirname(path) for path in paths])
    groups: dict[object, dict[str, list[Sample]]] = defaultdict(lambda: defaultdict(list))
    for path, sample in zip(paths, train.samples, strict=True):
        name = Path(os.path.relpath(path, root)).as_posix().partition(".rf.")[0]
        groups[int(sample.classes[0]) if by_class else None][name].append(sample)
    drawn = [s for names in groups.values() for name in draw(names, "val") for s in names[name]]
    held = {sample.path for sample in drawn}
    lengths = set(map(length_of, held))
    others = [s for s in train.samples if s.path not in held and length_of(s.path) in lengths]
    for group in copies([replace(train, samples=(*drawn, *others))]):
        if held.intersection(copy.path for copy in group):
            held.update(copy.path for copy in group)
    part = train.only([i for i, path in enumerate(train.columns.all_paths()) if path in held])
    return Dataset(train.names, part.samples, HOLD_OUT, train.path)


def remaining(train: Dataset, val: Dataset | None) -> Dataset:
    """Return a training set without the pictures of val, if val is a hold-out."""
    if val is None or val.split != HOLD_OUT:
        return train
    held = set(val.columns.all_paths())
    return train.only([i for i, p in enumerate(train.columns.all_paths()) if p not in held])
