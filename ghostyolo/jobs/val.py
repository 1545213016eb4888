"""A whole validation: open the model, score it on a data set, and write the page."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ghostyolo import report as pages
from ghostyolo.data import Dataset
from ghostyolo.data.class_names import names_beside
from ghostyolo.data.tiles import Tiles
from ghostyolo.distributed import AUTO, World, joined, pick_device
from ghostyolo.evaluation.validation import OnProgress, Trained, Validation, validate
from ghostyolo.files import make_folder_of
from ghostyolo.inference.choice import open_runtime
from ghostyolo.inference.environment import versions
from ghostyolo.jobs.model_argument import ModelArgument, check_alone, network_and_weights
from ghostyolo.model.model import Model
from ghostyolo.model.out_of_memory import told
from ghostyolo.network import Network
from ghostyolo.network.model_files import model_name
from ghostyolo.runtime.interface import Runtime
from ghostyolo.runtime.registry import installed_version, is_exported


def val(
    model: ModelArgument,
    data: str | Path | Dataset,
    split: str = "val",
    *,
    weights: str | Path | None = None,
    names: str | Path | Sequence[str] | None = None,
    thresh: float | None = None,
    nms: float | None = None,
    tiles: Tiles | None = None,
    allow_outside: bool = False,
    no_cache: bool = False,
    limit: int | None = None,
    runtime: str = AUTO,
    size: tuple[int, int] | None = None,
    batch: int | None = None,
    threads: int | None = None,
    device: str = AUTO,
    report: str | Path | None = None,
    command: Sequence[str] = (),
    on_progress: OnProgress = lambda done, total: None,
) -> Validation:
    """Measure the average precision of a detector, or the accuracy of a classifier.

    It does what `ghostyolo val` does. model: a `Model`, which torch computes where it is; or the
    folder of a run, a cfg, its network or the name of a published cfg, with `weights`, or an
    exported file, computed by the same runtime as in the command. data: a data set, or its path.
    split, names, allow_outside, no_cache: see `open_dataset`. thresh, nms: of confidences, and of
    the IoU in suppression. tiles: see `Detector`. limit: see `limited`. size: (h, w) of the input.
    batch: pictures computed at once. report: a page to write, command: its command line.
    on_progress: gets the numbers done and of all.

    Raises `GhostyoloError`: `DataError`, `OptionError`, `CfgError` or `WeightsError`.

    >>> result = ghostyolo.val("runs/train/first", "DATA", split="test")
    >>> list(result.scores)
    ['AP', 'AP50', 'AP75', 'VOC', 'precision', 'recall']
    """
    if report:
        make_folder_of(report)
    options = {"size": size, "batch": batch, "threads": threads}
    with joined(device) as world, told(batch=batch, size=size):
        with opened(model, weights, runtime, world, options) as (computing, title, trained):
            result = validate(
                computing, data, split, names=names, trained=trained, thresh=thresh, nms=nms,
                tiles=tiles, allow_outside=allow_outside, no_cache=no_cache, limit=limit,
                world=world,
                on_progress=on_progress if world.first else lambda done, total: None,
            )  # fmt: skip
        result = replace(result, runtime=title, rank=world.rank)
    if report and world.first:
        used = str(model.device) if isinstance(model, Model) else pick_device(world.device)
        _write_page(report, result, model, weights, command, used)
    return result


@contextmanager
def opened(
    model: ModelArgument,
    weights: str | Path | None,
    runtime: str,
    world: World,
    options: dict[str, Any],
) -> Iterator[tuple[Model | Runtime, str, Trained]]:
    """Yield what computes, its name and version, and the class names that it was trained with."""
    if isinstance(model, Model):
        other = None if runtime in (AUTO, "torch") else runtime
        check_alone(weights=weights, runtime=other, **options)
        if world.device != AUTO:
            model.to(pick_device(world.device))
        yield model, f"torch {installed_version('torch')}", (model.names, "the model")
        return
    if isinstance(model, Network) or not is_exported(model):
        model, weights = network_and_weights(model, weights)
    options["batch"] = 1 if options["batch"] is None else options["batch"]
    with open_runtime(model, weights, name=runtime, device=world.device, **options) as found:
        source = weights or str(model)
        names = found.class_names or names_beside(found.network, source)
        yield found, found.title, (names, source)


def _write_page(
    path: str | Path,
    result: Validation,
    model: ModelArgument,
    weights: str | Path | None,
    command: Sequence[str],
    device: str,
) -> None:
    """Write the page of a validation. device: that torch computed on."""
    page = pages.RunReport(
        title=", ".join(filter(None, (title_of(model), result.limited))),
        network=result.network,
        command=command,
        seconds=result.seconds,
        validation=result,
        weights=str(weights or ("" if isinstance(model, Model | Network) else model)),
        versions={**versions(device), "runtime": result.runtime},
        date=time.strftime("%Y-%m-%d %H:%M"),
    )
    pages.write(path, page)


def title_of(model: ModelArgument) -> str:
    """Return the title of a page: the name of the run, of the cfg or of the exported file."""
    if not isinstance(model, Model | Network):
        return model_name(model)
    network = model.network if isinstance(model, Model) else model
    span = network[0].span
    return model_name(Path(span.path).absolute()) if span else "network"
