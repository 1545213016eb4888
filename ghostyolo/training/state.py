"""Everything that changes while training, saved and restored whole."""

from __future__ import annotations

import io
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.amp import GradScaler

from ghostyolo.errors import OptionError, Span, WeightsError
from ghostyolo.files import replace
from ghostyolo.model.model import Model
from ghostyolo.training.ema import Ema

RngState = dict[str, torch.Tensor]  # of torch's random number generators, by device

VERSION = 2  # of the format of a checkpoint
_RENAMED = {
    "chances": "rng_states",
    "noted": "defects",
}  # keys of version 1, which has no "version"
_VALUES = ("iteration", "best", "stale", "skipped", "parts", "rows", "seconds", "defects")
_PARTS = ("model", "optimizer", "ema", "scaler")
_KEYS = {"identity", "rng_states", *_PARTS, *_VALUES}


@dataclass
class State:
    """What changes while training.

    ema: what is validated and saved, if not the weights themselves. scaler: of the gradient, in
    fp16. iteration: updates done. best: highest score on val. stale: validations since then.
    skipped: consecutive updates whose gradient overflowed fp16. parts: terms of the loss by name,
    smoothed as what Darknet prints; `loss` is their sum. rows: of results.csv. seconds: time spent,
    by phase. defects: found while reading the training pictures, each as path and defect.
    """

    model: Model
    optimizer: torch.optim.Optimizer
    ema: Ema | None = None
    scaler: GradScaler = field(default_factory=lambda: GradScaler("cpu", enabled=False))
    iteration: int = 0
    best: float = -1.0
    stale: int = 0
    skipped: int = 0
    parts: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    defects: list[tuple[str, str]] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """Return the smoothed loss, NaN before the first update."""
        return sum(self.parts.values()) if self.parts else math.nan

    def advance(self, parts: dict[str, float]) -> None:
        """Update the weights by the gradient in the model; parts: of its loss.

        Where the gradient overflowed fp16, only its scale is lowered. The scaler's own `step` is
        not used: if it skips the first update, fused SGD continues with uninitialised momentum.
        """
        finite = all(map(math.isfinite, parts.values()))
        self.scaler.update()
        self.iteration += 1
        self.skipped = 0 if finite else self.skipped + 1
        if not finite:
            return
        self.optimizer.step()
        self._clamp()
        if self.ema:
            self.ema.update()
        self.parts = {k: 0.9 * self.parts.get(k, part) + 0.1 * part for k, part in parts.items()}

    def record_score(self, score: float) -> bool:
        """Record the score of a validation and return whether it is the best, or equal to it."""
        self.stale = 0 if score > self.best else self.stale + 1
        if score < self.best:
            return False
        self.best = score
        return True

    def averaged(self) -> AbstractContextManager[None]:
        """Give the model the averaged weights, if there are any, inside a block."""
        return self.ema.applied() if self.ema else nullcontext()

    def save_weights(self, path: Path, batch: int) -> None:
        """Write the weights of the model; batch: the batch size."""
        self.model.seen = self.iteration * batch
        self.model.save_weights(path)

    def rng_state(self) -> RngState:
        """Return the states of torch's random number generators."""
        states = {"cpu": torch.get_rng_state()}
        if self.model.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state()
        return states

    def save(self, path: Path, identity: dict[str, str], rng_states: list[RngState]) -> None:
        """Write a checkpoint. identity: what the run is made of. rng_states: of every rank."""
        content = {
            "version": VERSION,
            "identity": identity,
            **{name: part.state_dict() if part else None for name, part in self._parts().items()},
            "rng_states": rng_states,
            **{name: getattr(self, name) for name in _VALUES},
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        replace(path, [buffer.getbuffer()])

    def restore(self, path: Path, identity: dict[str, str], rank: int = 0) -> None:
        """Restore a checkpoint as one of the ranks.

        Raises `WeightsError` if the file is not a checkpoint that can be read, `OptionError` if it
        is of another run.
        """
        content = _read(path)
        for name, value in identity.items():
            if content["identity"].get(name) != value:
                hint = "resume with the options that the run was started with"
                raise OptionError(f"the run has another {name}", span=Span(str(path)), hint=hint)
        for name, part in self._parts().items():
            if part:
                part.load_state_dict(content[name])
        for name in _VALUES:
            setattr(self, name, content[name])
        rng_state = content["rng_states"][rank]
        torch.set_rng_state(rng_state["cpu"])
        if "cuda" in rng_state:
            torch.cuda.set_rng_state(rng_state["cuda"])

    def _parts(self) -> dict[str, Any]:
        """Return what has a state dict, by its key in a checkpoint."""
        return {name: getattr(self, name) for name in _PARTS}

    def _clamp(self) -> None:
        """Clamp weights to the `clip` of their layer.

        Source: AlexeyAB/darknet src/convolutional_kernels.cu update_convolutional_layer_gpu.
        """
        for node, module in zip(self.model.network, self.model.layers, strict=True):
            if node.layer.clip:
                for name in node.layer.clipped:
                    module.get_parameter(name).data.clamp_(-node.layer.clip, node.layer.clip)


def _read(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint, with the keys of this version."""
    span = Span(str(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        content = {_RENAMED.get(key, key): value for key, value in content.items()}
        version = int(content.get("version", 1))
        damaged = not content.keys() >= _KEYS
    except FileNotFoundError:
        hint = "start it without --resume"
        if path.parent.is_dir():
            hint = "it was deleted, so start anew with another --name"
        raise OptionError("no checkpoint to resume", span=span, hint=hint) from None
    except Exception:  # torch raises whatever the damage leads to
        version, damaged = 0, True
    if version > VERSION:
        message = f"the checkpoint has format version {version}, this program reads up to {VERSION}"
        raise WeightsError(message, span=span, hint="resume with the ghostyolo that wrote it")
    if damaged:
        message, hint = "not a checkpoint, or a damaged one", "start the run anew"
        raise WeightsError(message, span=span, hint=hint)
    return content
