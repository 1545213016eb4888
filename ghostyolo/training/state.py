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

Chance = dict[str, torch.Tensor]  # the states of torch's random generators, by device

_PLAIN = ("iteration", "best", "stale", "skipped", "parts", "rows", "seconds", "noted")


@dataclass
class State:
    """What changes while training.

    ema: what is measured and saved, if not the weights themselves. scaler: of the gradient, in
    fp16. iteration: updates done. best: highest score on val. stale: validations since it was
    reached. skipped: updates in a row that fp16 could not hold. parts: of the loss, by name, and
    `loss`, their sum; both smoothed as Darknet does what it prints. rows: the table of results so
    far. seconds: by what they were spent on. noted: defects that reading the training pictures
    showed, each as path and defect.
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
    noted: list[tuple[str, str]] = field(default_factory=list)

    @property
    def loss(self) -> float:
        """Return the smoothed loss, NaN before the first update."""
        return sum(self.parts.values()) if self.parts else math.nan

    def advance(self, parts: dict[str, float]) -> None:
        """Change the weights by the gradient that lies in the model; parts: of its loss.

        Where fp16 could not hold the gradient, only its scale is lowered. The scaler's own `step`
        is not used: after a first update that it skips, fused SGD goes on with a momentum that was
        never set.
        """
        whole = all(map(math.isfinite, parts.values()))
        self.scaler.update()
        self.iteration += 1
        self.skipped = 0 if whole else self.skipped + 1
        if not whole:
            return
        self.optimizer.step()
        self._clamp()
        if self.ema:
            self.ema.update()
        self.parts = {k: 0.9 * self.parts.get(k, part) + 0.1 * part for k, part in parts.items()}

    def judge(self, score: float) -> bool:
        """Take in a validation and return whether no earlier one was better."""
        self.stale = 0 if score > self.best else self.stale + 1
        if score < self.best:
            return False
        self.best = score
        return True

    def averaged(self) -> AbstractContextManager[None]:
        """Let the model have the averaged weights, if there are any, inside a block."""
        return self.ema.applied() if self.ema else nullcontext()

    def save_weights(self, path: Path, batch: int) -> None:
        """Write the model's weights; batch: pictures of an update."""
        self.model.seen = self.iteration * batch
        self.model.save_weights(path)

    def chance(self) -> Chance:
        """Return where torch's random generators stand."""
        device = next(self.model.parameters()).device
        states = {"cpu": torch.get_rng_state()}
        return {**states, "cuda": torch.cuda.get_rng_state()} if device.type == "cuda" else states

    def save(self, path: Path, identity: dict[str, str], chances: list[Chance]) -> None:
        """Write all of it, with what the run is made of, beside the file and rename.

        chances: of every process of the run.
        """
        content = {
            "identity": identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state() if self.ema else None,
            "scaler": self.scaler.state_dict(),
            "chances": chances,
            **{name: getattr(self, name) for name in _PLAIN},
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        replace(path, [buffer.getbuffer()])

    def restore(self, path: Path, identity: dict[str, str], rank: int = 0) -> None:
        """Take up a saved run as one of its processes.

        Raises `WeightsError` if it is none, `OptionError` if another's.
        """
        content = _read(path)
        for name, value in identity.items():
            if content["identity"].get(name) != value:
                hint = "resume with the options that the run was started with"
                raise OptionError(f"the run has another {name}", span=Span(str(path)), hint=hint)
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.ema:
            self.ema.restore(content["ema"])
        self.scaler.load_state_dict(content["scaler"])
        for name in _PLAIN:
            setattr(self, name, content[name])
        chance = content["chances"][rank]
        torch.set_rng_state(chance["cpu"])
        if "cuda" in chance:
            torch.cuda.set_rng_state(chance["cuda"])

    def _clamp(self) -> None:
        """Keep weights within the `clip` of their layer.

        Source: AlexeyAB/darknet src/convolutional_kernels.cu update_convolutional_layer_gpu.
        """
        for node, module in zip(self.model.network, self.model.layers, strict=True):
            if node.layer.clip:
                for name in node.layer.clipped:
                    module.get_parameter(name).data.clamp_(-node.layer.clip, node.layer.clip)


def _read(path: Path) -> dict[str, Any]:
    span = Span(str(path))
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        missing = {"identity", "model", "optimizer", "ema", "scaler", "chances", *_PLAIN}
        missing -= content.keys()
    except FileNotFoundError:
        hint = "start it without --resume"
        if path.parent.is_dir():
            hint = "it was taken away, so start anew with another --name"
        raise OptionError("no checkpoint to resume", span=span, hint=hint) from None
    except Exception:  # torch raises whatever the damage leads to
        missing = {"all"}
    if missing:
        message, hint = "not a checkpoint, or a damaged one", "start the run anew"
        raise WeightsError(message, span=span, hint=hint)
    return content
