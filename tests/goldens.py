"""The goldens of the C program: where they are, how to run a network on their weights."""

from __future__ import annotations

import importlib.util
import json
from math import prod
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from ghostyolo import network as networks
from ghostyolo import passes, syntax
from ghostyolo.errors import Findings
from ghostyolo.layers import KINDS
from ghostyolo.model import Model
from ghostyolo.network import Network, Node


def recipe(shared: Path) -> ModuleType:
    """Import the recipe of weights, inputs and sample indices that the goldens follow."""
    path = shared / "darknet/oracle/recipe.py"
    spec = importlib.util.spec_from_file_location("recipe", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def zoo(shared: Path) -> list[Path]:
    return sorted((shared / "darknet/oracle/zoo").glob("*.json"))


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


def cfg_of(shared: Path, golden: Path) -> Path:
    return shared / "darknet/cfg" / f"{golden.stem.removesuffix('.native')}.cfg"


def unknown_kinds(cfg: Path) -> set[str]:
    """Return the sections of a cfg that have no class."""
    sections = syntax.parse(cfg.read_text(), str(cfg), Findings())
    return {section.name for section in sections[1:]} - set(KINDS)


def load(cfg: Path, golden: dict[str, Any]) -> Network:
    """Load a cfg at the size of its golden."""
    network = networks.load(cfg, findings=Findings(lambda finding: None))
    size = golden["h"], golden["w"]
    return network if network.options.size == size else passes.resize(network, size)


_KINDS = {"running_mean": "mean", "running_var": "var"}


def _block(node: Node, name: str, shape: tuple[int, ...]) -> tuple[str, int, int]:
    kind = _KINDS.get(name.rsplit(".")[-1], name.rsplit(".")[-1])
    if kind == "weight" and name != "weight":
        kind = "scale" if name.startswith("norm") else "weight"
    elif kind == "weight":
        kind = "scale" if node.layer.kind == "batchnorm" else "mix"
        kind = "weight" if node.layer.kind == "local" else kind
    fan_in = prod(shape[1:]) if kind == "weight" else 1
    if node.layer.kind == "local" and kind == "weight":
        fan_in = shape[-1]
    return kind, prod(shape), fan_in


def fill(model: Model, rules: ModuleType) -> int:
    """Give a model the recipe's weights; return how many floats that took."""
    tensors, blocks, targets = model.tensors(), [], []
    for node in model.network:
        if "share_index" in dict(node.refs):
            continue
        for name, shape in node.layer.weights(*model.network.input_shapes(node)):
            blocks.append(_block(node, name, shape))
            targets.append(tensors[node.index][name])
    start = 0
    with torch.no_grad():
        for (kind, size, fan_in), target in zip(blocks, targets, strict=True):
            values = rules.FORMULA[kind](rules.uniform(rules.SEED_WEIGHTS, start, size), fan_in)
            target.copy_(torch.from_numpy(values.astype(np.float32)).reshape(target.shape))
            start += size
    return start


def departures(golden: dict[str, Any], rules: ModuleType, model: Model) -> list[str]:
    """Return what differs between a model's trace and a golden, one line per layer."""
    shape = (1, golden["c"], golden["h"], golden["w"])
    outputs = model.trace(torch.from_numpy(rules.input_tensor(*shape)))
    lines = []
    for node, out, want in zip(model.network, outputs, golden["layers"], strict=True):
        values = out.numpy().ravel()
        where = f"layer {node.index} [{node.layer.kind}]"
        if values.size != want["n"] or (any(want["o"]) and list(node.shape) != want["o"]):
            lines.append(f"{where}: {node.shape}, {values.size} values; wanted {want['o']}")
            continue
        if list(out.shape[1:]) != list(node.shape):
            lines.append(f"{where}: computes {tuple(out.shape[1:])}, declares {node.shape}")
        bflops = node.layer.bflops(node.shape, *model.network.input_shapes(node))
        if abs(bflops - want["bf"]) > 1e-5 * max(1e-4, want["bf"]):
            lines.append(f"{where}: {bflops} BFLOPs, wanted {want['bf']}")
        samples = values[rules.sample_indices(values.size, len(want["s"]))]
        error = np.abs(samples - np.array(want["s"])).max() / max(want["st"][2], 1e-30)
        if not error <= 1e-4:
            lines.append(f"{where}: samples differ by {error:.1e} of {want['st'][2]}")
    return lines
