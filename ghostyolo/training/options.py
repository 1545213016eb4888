"""The options of a training run: names, defaults and help texts.

`ghostyolo.train` takes them as keywords, `ghostyolo train` as flags. This file does not load torch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ghostyolo.data.help_texts import LIMIT_HELP, NO_CACHE_HELP, OUTSIDE_HELP, OVERLAP_HELP
from ghostyolo.data.tiles import Tiles
from ghostyolo.distributed import AUTO
from ghostyolo.errors import OptionError
from ghostyolo.loss import CLASSIFICATION_LOSSES, DETECTION_LOSSES
from ghostyolo.network import Network
from ghostyolo.training.observers import Observer

LOSSES = {**DETECTION_LOSSES, **CLASSIFICATION_LOSSES}
OPTIMIZERS = ("muon", "sgd")
AMP = ("auto", "off", "bf16", "fp16")
CACHES = ("auto", "ram", "disk", "none")
PROJECT = "runs/train"
VALIDATIONS = 20  # of a run, if val_every is not given
MAX_WORKERS = 4
MAX_WORKERS_OF_GPU = 16
WORKERS = (
    f"one for every four threads, up to {MAX_WORKERS}; with a GPU one for every processor that its "
    f"process may use, up to {MAX_WORKERS_OF_GPU}"
)
BN_MOMENTUM = 0.1


def _option(default: Any, text: str, **details: Any) -> Any:
    """Return a field with its help text and details for `argparse`: metavar, choices, kind, group.

    kind: "int"; "count", an integer of 1 or more; "fraction", a number from 0 to 1. group: the
    heading in the help, "recipe" if not given.
    """
    return dataclasses.field(default=default, metadata={"help": text, **details})


_count = partial(_option, kind="count", metavar="N")


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The options of a training run. Raises `OptionError` for a value out of range.

    The fields without a help text are described in `ghostyolo.train`.
    """

    observers: Sequence[Observer] = ()
    command: Sequence[str] = ()
    split: str = "train"
    names: str | Path | tuple[str, ...] | None = None
    device: str = AUTO
    folder: str | Path | None = None
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    teacher: str | Path | Network | tuple[str | Path | Network, str | Path | None] | None = None
    val_split: str = _option(
        "val",
        "split to validate on; a fifth of train if there is no val; 'none' holds nothing back",
        group="data",
    )
    allow_outside: bool = _option(False, OUTSIDE_HELP, group="data")
    no_cache: bool = _option(False, NO_CACHE_HELP, group="data")
    limit: int | None = _count(None, LIMIT_HELP, group="data")
    tile: str = _option(
        "",
        "train on tiles of this size in pixels of the picture, and on whole pictures; auto: tiles "
        "of the size of the network's input",
        metavar="HxW|auto",
        group="data",
    )
    overlap: float | None = _option(None, OVERLAP_HELP, kind="fraction", group="data")
    exact_decode: bool = _option(
        False,
        "decode large pictures whole, not at 1/2, 1/4 or 1/8 of their sides",
        group="data",
    )
    cache: str = _option(
        CACHES[0],
        "where decoded pictures are kept. ram: as many as fit; disk: all, for later runs too; "
        "none: nowhere; auto: in memory, all of a set of up to 512 MB, of others the recent ones",
        choices=CACHES,
        group="data",
    )
    adapt: bool = _option(
        False,
        "fit CFG to DATA: classes, anchors and room for boxes; also batch, decay and length where "
        "CFG has what gencfg writes without DATA",
        group="model",
    )
    weights: str | None = _option(
        None,
        "start from this .weights file, from a run's folder, from a published classifier's "
        ".safetensors or .pth, or from timm:NAME, such as timm:ghostnet_100.in1k",
        metavar="FILE",
        group="model",
    )
    freeze: str | int | None = _option(
        None,
        "train all but the first N layers, or all but the backbone; 0: all",
        metavar="N|backbone",
        group="model",
    )
    epochs: int | None = _count(
        None, "passes over the data set, instead of [net]'s max_batches", group="training length"
    )
    batch: int | None = _count(None, "batch size, instead of [net]'s")
    loss: str = _option(
        "",
        f"loss function: {'; '.join(f'{name} {text}' for name, text in LOSSES.items())} "
        f"({next(iter(DETECTION_LOSSES))}; for classifiers {next(iter(CLASSIFICATION_LOSSES))})",
        choices=tuple(LOSSES),
    )
    optimizer: str = _option(
        "",
        "muon: Muon for the 1x1 convolutions, SGD for all else; sgd: SGD for all (muon for --loss "
        "modern, else sgd; adam if [net] has adam=1)",
        choices=OPTIMIZERS,
    )
    seed: int = _option(0, "random seed", kind="int")
    amp: str = _option(
        AMP[0],
        "precision of the forward pass; auto: bf16 or fp16 on a GPU that has it",
        choices=AMP,
        group="device",
    )
    compile: bool = _option(False, "compile the forward pass with torch.compile", group="device")
    threads: int | None = _count(
        None, "threads of torch (all that this process may use)", group="device"
    )
    workers: int | None = _option(
        None, f"processes that prepare pictures ({WORKERS})", kind="int", group="device"
    )
    val_every: int | None = _count(
        None, f"epochs between validations (1/{VALIDATIONS} of the run)", group="run"
    )
    save_every: int = _count(0, "also save every N iterations", group="run")
    patience: int = _count(
        0, "stop after N validations without a better score", group="training length"
    )
    bn_momentum: float = _option(BN_MOMENTUM, "momentum of batch norm statistics", kind="fraction")
    resume: bool = _option(False, "continue a run from its checkpoint", group="run")
    tensorboard: bool = _option(False, "also write a log for TensorBoard", group="run")

    @cached_property
    def tiles(self) -> Tiles | None:
        """Return how pictures are divided; None for whole ones."""
        return Tiles.read(self.tile, self.overlap)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value, kind = getattr(self, field.name), field.metadata.get("kind")
            if value == field.default:
                continue
            choices = field.metadata.get("choices")
            if choices and value not in choices:
                raise OptionError(f"{field.name}={value}", hint=f"use one of {', '.join(choices)}")
            if kind == "count" and (value < 1 or value != int(value)):
                raise OptionError(f"{field.name}={value}", hint="give a whole number of 1 or more")
            if kind == "fraction" and not 0 <= value <= 1:
                raise OptionError(f"{field.name}={value}", hint="give a number from 0 to 1")
        _ = self.tiles  # raises for words that are none
