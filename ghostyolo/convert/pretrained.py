"""The weights that a training starts from, also those that others trained on ImageNet.

The published classifiers were trained on normalised pictures, (RGB / 255 - mean) / std; Darknet's
networks take RGB / 255. The first convolution is changed so that it computes the same from these.
Only at the border of a picture it differs: padding with zeros is the mean colour there, black here.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from ghostyolo import files
from ghostyolo.convert import conversion, named_tensors
from ghostyolo.convert.tensor_pairs import label
from ghostyolo.errors import Span, WeightsError, missing_package
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.model.model import Model
from ghostyolo.syntax.values import write
from ghostyolo.zoo.state_dicts import STATE_DICTS

TIMM = "timm:"  # begins the name of a model of timm
WEIGHTS, CONFIG = "model.safetensors", "config.json"  # files of such a model on the hub
MOST_CONFIG = 1 << 20  # bytes
RGB = tuple[float, float, float]

logger = logging.getLogger(__name__)


class Normalisation(NamedTuple):
    """Mean and standard deviation of red, green and blue, as fractions of 255."""

    mean: RGB
    std: RGB


# Source: pytorch/vision, the transforms of its classifiers; most of timm's have the same.
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# The models of each family that timm has trained, of those that gencfg writes. It has no others of
# them: its GhostNets of width 0.5 and 1.3 are untrained, ShuffleNet and SqueezeNet are not in it.
# Source: huggingface/pytorch-image-models, timm/models/ghostnet.py, efficientnet.py, mobilenetv3.py
# and resnet.py.
TRAINED = {
    "ghostnet": ("ghostnet_100.in1k",),
    "mobilenetv1": ("mobilenetv1_100.ra4_e3600_r224_in1k", "mobilenetv1_125.ra4_e3600_r224_in1k"),
    "mobilenetv2": (
        "mobilenetv2_050.lamb_in1k",
        "mobilenetv2_100.ra_in1k",
        "mobilenetv2_140.ra_in1k",
    ),
    "mobilenetv3-large": ("mobilenetv3_large_100.ra_in1k",),
    "mobilenetv3-small": (
        "mobilenetv3_small_050.lamb_in1k",
        "mobilenetv3_small_075.lamb_in1k",
        "mobilenetv3_small_100.lamb_in1k",
    ),
    **{f"resnet{depth}": (f"resnet{depth}.a1_in1k",) for depth in (18, 34, 50, 101, 152)},
}


def load_start(model: Model, source: str) -> str:
    """Fill a model, or its first layers, from the weights that a training starts from.

    source: a .weights file; a file of named tensors, see `conversion.load`; or `timm:` and the name
    of a model of timm, such as timm:ghostnet_100.in1k, or a folder with its two files. Of a
    classifier's checkpoint the backbone is taken, for RGB / 255 as input. Logs what was taken, and
    what training has to mend. Returns the SHA-256 of the file.

    Raises `WeightsError` for a file that cannot be had, or does not fit.
    """
    path, normalisation = _located(source)
    if not named_tensors.recognise(path):
        model.load_weights(path)
    else:
        _load_named(model, path, source, normalisation)
    model.seen = 0
    return files.digest(path)


def _located(source: str) -> tuple[str, Normalisation]:
    """Return the file of weights, and the normalisation of a classifier in it."""
    if not source.startswith(TIMM):
        return source, IMAGENET
    name = source.removeprefix(TIMM)
    if os.path.isdir(name):
        paths = [os.path.join(name, file) for file in (WEIGHTS, CONFIG)]
        for path in paths:
            if not os.path.exists(path):
                hint = f"the folder needs {WEIGHTS} and {CONFIG} of a model of timm"
                raise WeightsError("it does not exist", span=Span(path), hint=hint)
    else:
        paths = [_fetched(name, file) for file in (WEIGHTS, CONFIG)]
    return paths[0], _normalisation(paths[1])


def _fetched(name: str, file: str) -> str:
    """Return the path of a file of a model of timm; it is fetched unless the hub's cache has it.

    A model that is in the cache is not asked for again, so that a run can be repeated.
    """
    try:
        from huggingface_hub import errors, hf_hub_download
    except ImportError as error:
        raise missing_package(error) from None
    repository = f"timm/{name}"
    try:
        try:
            return hf_hub_download(repository, file, local_files_only=True)
        except errors.LocalEntryNotFoundError:
            logger.warning("%s%s: fetching %s from the Hugging Face hub", TIMM, name, file)
            with _errors_only("huggingface_hub"):  # else each attempt to connect is two lines
                return hf_hub_download(repository, file)
    except (errors.RepositoryNotFoundError, errors.HFValidationError):
        message, hint = "timm has no trained model of that name", _known(name)
    except (errors.HfHubHTTPError, OSError) as error:
        offline = isinstance(error, errors.LocalEntryNotFoundError)
        told = "no connection, or HF_HUB_OFFLINE is set" if offline else str(error).splitlines()[0]
        message = f"{file} of https://huggingface.co/{repository} cannot be fetched: {told}"
        hint = (
            f"fetch {WEIGHTS} and {CONFIG} from there on another machine, and give the folder with "
            f"both: --weights {TIMM}FOLDER"
        )
    raise WeightsError(message, span=Span(f"{TIMM}{name}"), hint=hint)


@contextmanager
def _errors_only(library: str) -> Iterator[None]:
    """Keep a library from logging less than errors."""
    its = logging.getLogger(library)
    level = its.level
    its.setLevel(logging.ERROR)
    try:
        yield
    finally:
        its.setLevel(level)


def _known(name: str) -> str:
    """Return a hint with the models that timm has of the family of a name, else of all."""
    found = [model for models in TRAINED.values() for model in models]
    near = [model for model in found if model.split("_")[0] == name.split("_")[0].split(".")[0]]
    return f"trained are {', '.join(near or found)}"


def _normalisation(path: str) -> Normalisation:
    """Return the normalisation that a model of timm was trained with, from its config.json."""
    try:
        content = json.loads(files.read(path, MOST_CONFIG))["pretrained_cfg"]
        mean, std = (tuple(map(float, content[key])) for key in ("mean", "std"))
        if len(mean) != 3 or len(std) != 3 or min(std) <= 0:
            raise ValueError("not three numbers each")
    except (OSError, KeyError, TypeError, ValueError, RecursionError) as error:
        message = f"has no mean and std of its pictures in pretrained_cfg: {error}"
        raise WeightsError(message, span=Span(path), hint="fetch it again") from None
    return Normalisation(mean, std)


def _load_named(model: Model, path: str, source: str, normalisation: Normalisation) -> None:
    report = conversion.load_first(model, path)
    logger.warning("%s", report.text(source).replace("\n", "; "))
    if report.warning:
        logger.warning("%s; training has to mend that", report.warning)
    if report.source in STATE_DICTS:
        take_levels(model, normalisation)
        told = (f"{key} {write(value)}" for key, value in normalisation._asdict().items())
        logger.warning("its first layer now takes RGB / 255 without %s", " and ".join(told))


def take_levels(model: Model, normalisation: Normalisation) -> None:
    """Make a model that was trained on normalised pictures take RGB / 255.

    Dividing the weights w of the first convolution by std, and taking the sum of w * mean / std
    from its output, leaves the output unchanged, but at the border.

    Raises `WeightsError` for another first layer.
    """
    first, tensors = model.network[0], model.tensors()[0]
    shift = tensors.get("norm.running_mean", tensors.get("conv.bias"))
    if not isinstance(first.layer, Convolutional) or shift is None:
        message = f"{label(first)} is no convolution"
        hint = "start from weights of another family, or without --weights"
        raise WeightsError(message, hint=hint)
    mean, std = (torch.tensor(value)[:, None, None] for value in normalisation)
    with torch.no_grad():
        tensors["conv.weight"] /= std
        taken = (tensors["conv.weight"] * mean).sum((1, 2, 3))
        shift += taken if first.layer.batch_normalize else -taken
