"""Weights from one file into another: Darknet's, ours, and the state dicts of other people.

A file of named tensors is read and written as pairs: a tensor of the cfg, and its name and scale in
the file. A new family of checkpoints is a function in zoo/state_dicts.py, not code here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from ghostyolo.convert import files
from ghostyolo.convert.pairs import (
    HINT,
    OWN,
    Pair,
    departures,
    fill,
    fitting,
    label,
    own_name,
    pairs,
)
from ghostyolo.errors import OptionError, Span, WeightsError
from ghostyolo.layers import Layer, LayerError
from ghostyolo.model import weights
from ghostyolo.model.model import Model
from ghostyolo.network import Network, Node
from ghostyolo.ops import EPS
from ghostyolo.zoo.state_dicts import STATE_DICTS

DARKNET, PARTIAL = "darknet", "partial"
_OWN_NAME = re.compile(r"layers\.\d+\.")
_COUNT = ".num_batches_tracked"  # torch's; nothing here computes with it


@dataclass(frozen=True)
class Report:
    """What became of a network's tensors, by their names in `Model.state_dict`.

    source: the kind of the file. matched: filled from it. kept: left at their initialisation.
    stopped: why the rest was left. warning: what differs though the tensors fit.
    """

    source: str
    matched: tuple[str, ...]
    kept: tuple[str, ...]
    stopped: str = ""
    warning: str = ""


def load(model: Model, path: str | Path, *, kind: str = "", eps: float | None = None) -> Report:
    """Fill a model from a file of any format, all or nothing.

    kind: `partial` or a family, where content and name do not say it. eps: of the batch norms of a
    foreign checkpoint, if not its family's. Raises `WeightsError`, naming the first tensor that
    does not fit.
    """
    if not files.recognise(path):
        return _load_darknet(model, path, kind, eps)
    named = files.read(path)
    kind = _kind(path, named.tensors, kind, eps)
    matched, misfit = fitting(pairs(model.network, kind, eps), named.tensors)
    if misfit is not None:
        if kind in STATE_DICTS and misfit.hint == HINT:
            misfit.hint += ", or take what fits with --backbone-only"
        raise _error(path, misfit)
    used = {key for pair in matched for key in pair.keys} | set(model.state_dict())
    unused = [key for key in named.tensors if key not in used and not key.endswith(_COUNT)]
    if unused:
        message = f"'{unused[0]}' (of {len(unused)} such tensors) has no place in the cfg"
        raise _error(path, LayerError(message, HINT))
    fill(model.tensors(), matched, named.tensors)
    options = model.network.options
    model.seen = named.seen or named.iteration * options.mini_batch * options.subdivisions
    return _report(kind, model.network, _own_names(matched))


def start(
    model: Model,
    path: str | Path,
    *,
    source: Network | None = None,
    kind: str = "",
    eps: float | None = None,
) -> Report:
    """Fill the first layers of a model from those of another network; leave the rest as it is.

    source: the other network; needed unless the file is a foreign checkpoint. Layers are shared up
    to the first that computes or stores something else. Raises `WeightsError` if no layer with
    weights comes before that.
    """
    if source is not None:
        other = Model(source)
        read = load(other, path, kind=kind, eps=eps)
        return replace(_copy_shared(model, other, path), source=read.source)
    named = files.read(path) if files.recognise(path) else files.Named({})
    kind = _kind(path, named.tensors, kind, eps) if named.tensors else OWN
    if kind == OWN:
        message, hint = "does not say of which network it is", "give its cfg with --source-cfg"
        raise _error(path, LayerError(message, hint))
    matched, misfit = fitting(pairs(model.network, kind, eps, exact=False), named.tensors)
    if not matched:
        raise _error(path, misfit or LayerError("the cfg has no layers with weights", HINT))
    fill(model.tensors(), matched, named.tensors)
    report = _report(kind, model.network, _own_names(matched), str(misfit or ""))
    last = matched[-1].node.index
    shared = [unlike for node, unlike in departures(model.network, kind) if node.index < last]
    return replace(report, warning=str(shared[0])) if shared else report


def save(model: Model, path: str | Path, *, kind: str = OWN, eps: float | None = None) -> None:
    """Write a model's weights in the format that the path's suffix says.

    `.weights`; `.conv.N` with the layers below N; `.safetensors`, `.pt` and `.pth` with the names
    of `Model.state_dict` or of a family. Raises `WeightsError` and `OptionError`.
    """
    _check_eps(kind, eps)
    if not str(path).endswith(files.SUFFIXES):
        _save_darknet(model, path, kind)
        return
    tensors = model.tensors()
    try:
        listed = [pair for layer in pairs(model.network, kind, eps) for pair in layer]
    except LayerError as misfit:
        raise _error(path, misfit) from None
    values: dict[str, Tensor] = {}
    for pair in listed:
        pair.write(tensors[pair.node.index][pair.name], values)
    files.write(path, values, seen=model.seen, wrapped=kind == OWN)


def _load_darknet(model: Model, path: str | Path, kind: str, eps: float | None) -> Report:
    if kind in STATE_DICTS:
        hint = f"give a file in {', '.join(files.SUFFIXES)}"
        raise _error(path, LayerError(f"holds no names, as weights of {kind} would", hint))
    _check_eps(DARKNET, eps)
    file = weights.opened(path, model.network, partial=kind == PARTIAL or None)
    file.fill(model.tensors())
    model.seen = file.header.seen
    held = [own_name(node, name) for node, name, _ in file.items]
    report = _report(DARKNET, model.network, held)
    return replace(report, stopped="the file holds no more" if report.kept else "")


def _save_darknet(model: Model, path: str | Path, kind: str) -> None:
    span, count, cutoff = Span(str(path)), len(model.network), weights.cutoff_of(path)
    suffixes = ", ".join(files.SUFFIXES)
    if kind != OWN:
        hint = f"end it in {suffixes}"
        raise OptionError(f"cannot hold the names of {kind}", span=span, hint=hint)
    if cutoff is None and not str(path).endswith(".weights"):
        hint = f"end it in .weights, .conv.N, {suffixes}"
        raise OptionError("its name does not say the format", span=span, hint=hint)
    if cutoff is not None and not 0 < cutoff <= count:
        hint = f"end it in .conv.1 to .conv.{count}"
        raise OptionError(f"the cfg has {count} layers", span=span, hint=hint)
    model.save_weights(path, cutoff)


def _kind(path: str | Path, tensors: dict[str, Tensor], kind: str, eps: float | None) -> str:
    """Return whose names these are: as told, or by the names that are most like them.

    Of two families that hold all of them, as a deeper ResNet does, the smaller is meant.
    """
    if kind == PARTIAL:
        message = f"holds named tensors, starting with '{next(iter(tensors), '')}'"
        raise _error(path, LayerError(message, "leave --from partial out"))
    if not kind and not any(map(_OWN_NAME.match, tensors)):
        shared = {name: len(foreign.keys & tensors.keys()) for name, foreign in STATE_DICTS.items()}
        kind = max(shared, key=lambda name: (shared[name], -len(STATE_DICTS[name].keys)))
        if not shared[kind]:
            message = f"of no known family, its first tensor is '{next(iter(tensors), '')}'"
            raise _error(path, LayerError(message, f"known are {', '.join(STATE_DICTS)}"))
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


def _copy_shared(model: Model, other: Model, path: str | Path) -> Report:
    """Copy the tensors of the layers that two networks begin with alike."""
    network, stopped = model.network, ""
    matched: list[tuple[int, str]] = []
    for mine, its in zip(network, other.network, strict=False):
        if difference := _difference(network, mine, other.network, its):
            stopped = f"{label(mine)} {difference}"
            break
        matched += [(mine.index, name) for name, _ in weights.stored(network, mine)]
    if not matched:
        raise _error(
            path, LayerError(f"shares no weights with the cfg: {stopped}", "use its family's")
        )
    ours, theirs = model.tensors(), other.tensors()
    with torch.no_grad():
        for index, name in matched:
            ours[index][name].copy_(theirs[index][name])
    return _report(
        OWN, network, [own_name(network[index], name) for index, name in matched], stopped
    )


def _difference(network: Network, mine: Node, other: Network, its: Node) -> str:
    """Return what two nodes do not compute alike, "" if they do."""
    if mine.layer.kind != its.layer.kind:
        return f"is [{its.layer.kind}] there"
    if (mine.inputs, mine.refs) != (its.inputs, its.refs):
        return "reads other layers there"
    shared = Layer.keys()  # what every kind has is about training and files
    for key in [item.name for item in fields(mine.layer) if item.name not in shared]:
        here, there = getattr(mine.layer, key), getattr(its.layer, key)
        if here != there:
            return f"has {key}={here}, {there} there"
    alike = weights.stored(network, mine) == weights.stored(other, its)
    return "" if alike else "has weights of another shape there"


def _own_names(matched: list[Pair]) -> list[str]:
    return [own_name(pair.node, pair.name) for pair in matched]


def _report(source: str, network: Network, matched: list[str], stopped: str = "") -> Report:
    names = [own_name(node, name) for node in network for name, _ in weights.stored(network, node)]
    filled = set(matched)
    kept = tuple(name for name in names if name not in filled)
    return Report(source, tuple(matched), kept, stopped)


def _error(path: str | Path, misfit: LayerError) -> WeightsError:
    return WeightsError(str(misfit), span=Span(str(path)), hint=misfit.hint)
