"""The case files: tests/kinds/*.cfg hold layers with their shapes, tests/errors/*.cfg mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch

from ghostyolo.model.model import Model
from ghostyolo.network import Network, load
from support import ROOT, TESTS

CASES = TESTS / "cases"
KINDS = sorted((CASES / "kinds").glob("*.cfg"))
ERRORS = sorted((CASES / "errors").glob("*.cfg"))
GENERATED = sorted((ROOT / "cfg").glob("*.cfg"))
_SHAPE = re.compile(r"^#.*-> (\d+)x(\d+)x(\d+)$")


def noted_shapes(path: Path) -> list[tuple[int, ...]]:
    """Return the shapes that a case's comments promise, one per layer."""
    matches = map(_SHAPE.match, path.read_text().splitlines())
    return [tuple(map(int, match.groups())) for match in matches if match]


def random_model(network: Network | Path, seed: int = 0) -> Model:
    """Return a model whose every stored number is random, its statistics plausible."""
    torch.manual_seed(seed)
    model = Model(network if isinstance(network, Network) else load(network)).eval()
    with torch.no_grad():
        for tensors in model.tensors():
            for name, tensor in tensors.items():
                if name.endswith("running_var") or name.endswith("norm.weight"):
                    tensor.uniform_(0.5, 1.5)
                elif name.endswith(("bias", "running_mean")):
                    tensor.uniform_(-0.2, 0.2)
                elif tensor.is_floating_point():
                    bound = (3 / max(1, tensor[0].numel())) ** 0.5
                    tensor.uniform_(-bound, bound)
    return model


def random_input(network: Network, count: int = 1, seed: int = 0) -> np.ndarray:
    """Return pictures (N, C, h, w) float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    return rng.random((count, *network.options.shape), np.float32)


def departure(got: np.ndarray, want: np.ndarray) -> float:
    """Return the largest difference as a share of the largest wanted magnitude."""
    return float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-12))
