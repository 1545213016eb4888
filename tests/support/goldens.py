"""The goldens of the C program: where they are, how to run a network on their weights.

Those of our cfgs lie in tests/goldens/ (see its README); those of published cfgs elsewhere.
"""

from __future__ import annotations

import importlib.util
import json
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from ghostyolo.errors import Findings
from ghostyolo.model import weights
from ghostyolo.model.model import Model
from ghostyolo.network import Network, Node, info, model_files, passes, weights_file
from support import TESTS, published

FOLDER = TESTS / "goldens"
CFGS = sorted(FOLDER.rglob("*.cfg"))


def _import(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


recipe = _import(FOLDER / "recipe.py")


def family(name: str, pattern: str = "*.json") -> list[Path]:
    """Return the goldens of a family: ours, then those of published cfgs that lie elsewhere.

    name: ops, det, train or zoo; zoo holds published cfgs only.
    """
    ours = sorted((FOLDER / name).glob(pattern))
    names = {path.name for path in ours}
    others = published.CFGS.glob(f"oracle/{name}/{pattern}")
    return ours + [path for path in others if path.name not in names]


def each(name: str, pattern: str = "*.json") -> pytest.MarkDecorator:
    """Run a test for each golden of a family, and skip it if there is none."""
    reason = published.CFGS.lacks(f"oracle/{name}")
    none = pytest.param(None, marks=pytest.mark.skip(reason), id="none")
    paths = [pytest.param(path, id=path.stem) for path in family(name, pattern)]
    return pytest.mark.parametrize("path", paths or [none])


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def cfg_of(golden: Path) -> Path:
    """Return the cfg that a golden was computed from: beside it, in train/ or a published one."""
    stem = golden.stem.split(".img")[0]
    for size in (".native", ".96x64"):
        stem = stem.removesuffix(size)
    folders = (golden.parent, FOLDER / "train", published.CFGS.path / "cfg")
    return next(path for folder in folders if (path := folder / f"{stem}.cfg").exists())


def load(cfg: Path, golden: dict[str, Any]) -> Network:
    """Load a cfg as Darknet reads it, at the size of its golden."""
    network = model_files.load(cfg, findings=Findings(quiet=True, compat=True))
    size = golden["h"], golden["w"]
    return network if network.options.size == size else passes.resize(network, size)


_KINDS = {"running_mean": "mean", "running_var": "var", "bias": "bias"}


def _block(node: Node, name: str, shape: tuple[int, ...]) -> tuple[str, int, int]:
    """Return the recipe's kind of a tensor, its floats, and how many each output sees."""
    last = name.rsplit(".")[-1]
    if last in _KINDS:
        return _KINDS[last], prod(shape), 1
    if name.startswith("norm") or node.layer.kind == "batchnorm":
        return "scale", prod(shape), 1
    if node.layer.kind in ("shortcut", "implicit"):
        return "mix", prod(shape), 1
    return "weight", prod(shape), shape[-1] if node.layer.kind == "local" else prod(shape[1:])


def floats(network: Network) -> np.ndarray:
    """Return the numbers of a `.weights` file by the recipe."""
    return recipe.stream(_block(*item) for item in _items(network))


def _items(network: Network) -> list[weights_file.Item]:
    return [(node, *item) for node in network for item in weights_file.stored(network, node)]


def model(path: Path) -> Model:
    """Return the network of a golden with the recipe's weights."""
    built = Model(load(cfg_of(path), read(path)))
    numbers = floats(built.network)
    weights.File(weights_file.Header(), _items(built.network), numbers).fill(built.tensors())
    return built.eval()


def departures(path: Path) -> list[str]:
    """Return what differs between a network and its golden, one line per layer."""
    golden, ours = read(path), model(path)
    shape = (1, golden["c"], golden["h"], golden["w"])
    outputs = ours.trace(torch.from_numpy(recipe.input_tensor(*shape)))
    lines = _totals(golden, ours.network)
    for node, out, want in zip(ours.network, outputs, golden["layers"], strict=True):
        found = _layer(ours.network, node, want) + _values(node, out, want)
        lines += [f"layer {node.index} [{node.layer.kind}]: {line}" for line in found]
    return lines


def _totals(golden: dict[str, Any], network: Network) -> list[str]:
    total = info.totals(info.rows(network))
    bflops = f"{total.bflops:.3f}"
    pairs = {
        "file_bytes": (weights_file.file_size(network), golden["file_bytes"]),
        "header_hex": (weights_file.Header().pack().hex(), golden["header_hex"]),
        "bflops": (bflops, f"{golden['total_bflops']:.3f}"),
    }
    return [f"{what}: {got}, wanted {want}" for what, (got, want) in pairs.items() if got != want]


def _layer(network: Network, node: Node, want: dict[str, Any]) -> list[str]:
    """Compare what is known without computing; Darknet leaves some kinds' shape at zero."""
    lines = []
    if node.shape.size != want["n"] or (any(want["o"]) and list(node.shape) != want["o"]):
        lines.append(f"{node.shape}, wanted {want['o']}, {want['n']} values")
    bflops = node.layer.bflops(node.shape, *network.input_shapes(node))
    if abs(bflops - want["bf"]) > 1e-5 * want["bf"]:
        lines.append(f"{bflops} BFLOPs, wanted {want['bf']}")
    stored = sum(prod(shape) for _, shape in weights_file.stored(network, node))
    if stored != want.get("np", 0):
        lines.append(f"{stored} floats, wanted {want.get('np', 0)}")
    return lines


def _values(node: Node, out: torch.Tensor, want: dict[str, Any]) -> list[str]:
    if tuple(out.shape[1:]) != tuple(node.shape):
        return [f"computes {tuple(out.shape[1:])}, declares {node.shape}"]
    values = out.numpy().ravel()
    samples = values[recipe.sample_indices(values.size, len(want["s"]))]
    error = np.abs(samples - np.array(want["s"])).max()
    if not error <= 1e-4 * want["st"][2]:
        return [f"samples differ by {error:.1e}, the largest value is {want['st'][2]}"]
    return []
