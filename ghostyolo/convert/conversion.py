"""Convert weights between Darknet's files, ghostyolo's, and the state dicts of other projects.

A file of named tensors is read and written as pairs: a tensor of the cfg, and its name and scale in
the file. Add a new family of checkpoints as a function in zoo/state_dicts.py.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from ghostyolo.convert import named_tensors
from ghostyolo.convert.tensor_pairs import HINT, OWN, differences, fill, fitting, label, pairs
from ghostyolo.errors import OptionError, Span, WeightsError, printable
from ghostyolo.layers import LayerError
from ghostyolo.model import weights
from ghostyolo.model.model import Model
from ghostyolo.network import Network, weights_file
from ghostyolo.network.difference import node_difference
from ghostyolo.ops.convolution import EPS
from ghostyolo.zoo.state_dicts import STATE_DICTS

logger = logging.getLogger(__name__)
DARKNET, PARTIAL = "darknet", "partial"
SUFFIXES = ", ".join(named_tensors.SUFFIXES)
_OWN_NAME = re.compile(r"layers\.\d+\.")
_COUNT = ".num_batches_tracked"  # of torch's batch norms; ghostyolo does not use it
Stored = tuple[int, str]  # a stored tensor: the index of its node, its name there


@dataclass(frozen=True)
class Conversion:
    """The tensors of a network after a conversion, by their names in `Model.state_dict`.

    source: the kind of the file. matched: the tensors filled from it. kept: the tensors left at
    their initialisation. stopped: why these were left. warning: a difference between the network
    and the family although the tensors fit.
    """

    source: str
    matched: tuple[str, ...]
    kept: tuple[str, ...]
    stopped: str = ""
    warning: str = ""

    def text(self, path: str | Path) -> str:
        """Return the number of tensors from the file and the layers left, for a person."""
        matched, kept = len(self.matched), len(self.kept)
        lines = [f"{matched} of {matched + kept} tensors from {path} ({self.source})"]
        if kept:
            lines.append(f"kept as initialised: {kept} tensors of layers {_ranges(self.kept)}")
        if self.stopped:
            lines.append(f"because {self.stopped}")
        return "\n".join(map(printable, lines))


def convert(
    network: Network,
    path: str | Path,
    out: str | Path,
    *,
    kind: str = "",
    to: str = "",
    eps: float | None = None,
    backbone_only: bool = False,
    source: Network | None = None,
    seed: int = 0,
) -> Conversion:
    """Read a network's weights from a file of any format, and write them in another format.

    kind: of the file, see `load`. to: the family whose names the new file has, ghostyolo's if
    empty. eps: of the batch norms in whichever file belongs to a family. backbone_only, source:
    take the first layers only, see `load_backbone`. seed: of the initialisation of tensors that the
    file lacks. Logs a warning if the new weights need further training.
    """
    if source and not backbone_only:
        raise OptionError("--source-cfg without --backbone-only", hint="give both or neither")
    torch.manual_seed(seed)
    model = Model(network)
    model.initialise_heads()
    read_eps, write_eps = (None, eps) if to else (eps, None)
    if backbone_only:
        report = load_backbone(model, path, source=source, kind=kind, eps=read_eps)
    else:
        report = load(model, path, kind=kind, eps=read_eps)
    save(model, out, kind=to or OWN, eps=write_eps)
    if report.warning:
        logger.warning("%s; train on from here", report.warning)
    return report


def load(model: Model, path: str | Path, *, kind: str = "", eps: float | None = None) -> Conversion:
    """Fill a model from a file of any format, all or nothing.

    kind: `partial` or a family, if content and name do not tell it. eps: of the batch norms of a
    family's checkpoint, if it is not the published one. Raises `WeightsError`, naming the first
    tensor that does not fit.
    """
    with _naming(path):
        if not named_tensors.recognise(path):
            return _load_darknet(model, path, kind, eps)
        named = named_tensors.read(path)
        kind = _kind(named.tensors, kind, eps)
        matched, misfit = fitting(pairs(model.network, kind, eps), named.tensors)
        if misfit is not None:
            if kind in STATE_DICTS and misfit.hint == HINT:
                misfit.hint += ", or take what fits with --backbone-only"
            raise misfit
        used = {key for pair in matched for key in pair.keys} | set(model.state_dict())
        unused = [key for key in named.tensors if key not in used and not key.endswith(_COUNT)]
        if unused:
            message = f"'{unused[0]}' (of {len(unused)} such tensors) has no place in the cfg"
            raise LayerError(message, HINT)
    fill(model.tensors(), matched, named.tensors)
    options = model.network.options
    model.seen = named.seen or named.iteration * options.mini_batch * options.subdivisions
    return _conversion(kind, model.network, (pair.stored for pair in matched))


def load_backbone(
    model: Model,
    path: str | Path,
    *,
    source: Network | None = None,
    kind: str = "",
    eps: float | None = None,
) -> Conversion:
    """Fill the first layers of a model from those of another network; leave the rest unchanged.

    source: the other network; needed unless the file is a family's checkpoint. Layers are filled up
    to the first that computes or stores something else. Raises `WeightsError` if no layer with
    weights comes before it.
    """
    if source is not None:
        other = Model(source)
        read = load(other, path, kind=kind, eps=eps)
        with _naming(path):
            return replace(_copy_shared(model, other), source=read.source)
    with _naming(path):
        named = named_tensors.NamedTensors({})
        if named_tensors.recognise(path):
            named = named_tensors.read(path)
        kind = _kind(named.tensors, kind, eps) if named.tensors else OWN
        if kind == OWN:
            message, hint = "does not tell its network", "give its cfg with --source-cfg"
            raise LayerError(message, hint)
        matched, misfit = fitting(pairs(model.network, kind, eps, exact=False), named.tensors)
        if not matched:
            raise misfit or LayerError("the cfg has no layers with weights", HINT)
    fill(model.tensors(), matched, named.tensors)
    stored = (pair.stored for pair in matched)
    report = _conversion(kind, model.network, stored, stopped=str(misfit or ""))
    last = matched[-1].node.index
    shared = [unlike for node, unlike in differences(model.network, kind) if node.index < last]
    return replace(report, warning=str(shared[0])) if shared else report


def load_first(model: Model, path: str | Path) -> Conversion:
    """Fill a model from named tensors: whole if the names are ghostyolo's, else the first layers.

    See `load` and `load_backbone`.
    """
    own = any(map(_OWN_NAME.match, named_tensors.read(path).tensors))
    return load(model, path) if own else load_backbone(model, path)


def save(model: Model, path: str | Path, *, kind: str = OWN, eps: float | None = None) -> None:
    """Write a model's weights in the format of the path's suffix.

    `.weights`; `.conv.N` with the layers below N; `.safetensors`, `.pt` and `.pth` with the names
    of `Model.state_dict` or of a family. Raises `WeightsError` and `OptionError`.
    """
    _check_eps(kind, eps)
    if not str(path).endswith(named_tensors.SUFFIXES):
        _save_darknet(model, path, kind)
        return
    tensors = model.tensors()
    with _naming(path):
        listed = [pair for layer in pairs(model.network, kind, eps) for pair in layer]
    values: dict[str, Tensor] = {}
    for pair in listed:
        pair.write(tensors[pair.node.index][pair.name], values)
    named_tensors.write(path, values, seen=model.seen, wrapped=kind == OWN)


def _load_darknet(model: Model, path: str | Path, kind: str, eps: float | None) -> Conversion:
    if kind in STATE_DICTS:
        hint = f"give a file in {SUFFIXES}"
        raise LayerError(f"holds no names, as weights of {kind} would", hint)
    _check_eps(DARKNET, eps)
    file = weights.opened(path, model.network, partial=kind == PARTIAL or None)
    file.fill(model.tensors())
    model.seen = file.header.seen
    filled = ((node.index, name) for node, name, _ in file.items)
    report = _conversion(DARKNET, model.network, filled)
    return replace(report, stopped="the file ends there" if report.kept else "")


def _save_darknet(model: Model, path: str | Path, kind: str) -> None:
    span, count, cutoff = Span(str(path)), len(model.network), weights_file.cutoff_of(path)
    if kind != OWN:
        hint = f"end it in {SUFFIXES}"
        raise OptionError(f"cannot hold the names of {kind}", span=span, hint=hint)
    if cutoff is None and not str(path).endswith(".weights"):
        hint = f"end it in .weights, .conv.N, {SUFFIXES}"
        raise OptionError("its name does not tell the format", span=span, hint=hint)
    if cutoff is not None and not 0 < cutoff <= count:
        hint = f"end it in .conv.1 to .conv.{count}"
        raise OptionError(f"the cfg has {count} layers", span=span, hint=hint)
    model.save_weights(path, cutoff)


def _kind(tensors: dict[str, Tensor], kind: str, eps: float | None) -> str:
    """Return the kind of a file's names: the given kind, or the family that shares most names.

    If two families have all of these names, as a deeper ResNet has, it is the smaller one.
    """
    first = next(iter(tensors), "")
    if kind == PARTIAL:
        message = f"holds named tensors, starting with '{first}'"
        raise LayerError(message, "leave --from partial out")
    if not kind and not any(map(_OWN_NAME.match, tensors)):
        shared = {name: len(foreign.keys & tensors.keys()) for name, foreign in STATE_DICTS.items()}
        kind = max(shared, key=lambda name: (shared[name], -len(STATE_DICTS[name].keys)))
        if not shared[kind]:
            message = f"belongs to no known family; its first tensor is '{first}'"
            raise LayerError(message, f"known are {', '.join(STATE_DICTS)}")
    kind = kind or OWN
    _check_eps(kind, eps)
    return kind


def _check_eps(kind: str, eps: float | None) -> None:
    if eps is None:
        return
    if kind not in STATE_DICTS:
        message = f"eps {eps:g} for weights whose eps is Darknet's, {EPS:g}"
        raise OptionError(message, hint="leave --bn-eps out")
    if not 0 < eps <= 1:
        raise OptionError(f"eps {eps:g}", hint="give the model's, such as 1e-5 or 1e-3")


def _copy_shared(model: Model, other: Model) -> Conversion:
    """Copy the tensors of the first layers, up to the first that differs between the networks."""
    network, stopped = model.network, ""
    matched: list[Stored] = []
    for mine, its in zip(network, other.network, strict=False):
        difference = node_difference(mine, its)
        stored = weights_file.stored(network, mine)
        if stored != weights_file.stored(other.network, its):
            difference = difference or "has weights of another shape there"
        if difference:
            stopped = f"{label(mine)} {difference}"
            break
        matched += [(mine.index, name) for name, _ in stored]
    if not matched:
        message = f"shares no weights with the cfg: {stopped}"
        raise LayerError(message, "use its family's")
    ours, theirs = model.tensors(), other.tensors()
    with torch.no_grad():
        for index, name in matched:
            ours[index][name].copy_(theirs[index][name])
    return _conversion(OWN, network, matched, stopped)


def _conversion(
    source: str, network: Network, filled: Iterable[Stored], stopped: str = ""
) -> Conversion:
    matched = tuple(f"layers.{index}.{name}" for index, name in filled)
    every = (
        f"layers.{node.index}.{name}"
        for node in network
        for name, _ in weights_file.stored(network, node)
    )
    known = set(matched)
    kept = tuple(name for name in every if name not in known)
    return Conversion(source, matched, kept, stopped)


@contextmanager
def _naming(path: str | Path) -> Iterator[None]:
    """Turn a `LayerError` into a `WeightsError` that names the file."""
    try:
        yield
    except LayerError as misfit:
        raise WeightsError(str(misfit), span=Span(str(path)), hint=misfit.hint) from None


def _ranges(names: tuple[str, ...]) -> str:
    """Return the layers of tensors as ranges of indices: 3, 5-9."""
    indices = sorted({int(name.split(".")[1]) for name in names})
    runs = [
        [index for _, index in run]
        for _, run in groupby(enumerate(indices), lambda item: item[1] - item[0])
    ]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
