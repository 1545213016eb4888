"""Everything that changes while training, saved and restored whole."""

from __future__ import annotations

import io
import math
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ghostyolo.ema import Ema
from ghostyolo.errors import OptionError, Span, WeightsError
from ghostyolo.files import replace
from ghostyolo.model import Model


@dataclass
class State:
    """What changes while training.

    ema: what is measured and saved, if not the weights themselves. iteration: updates done. best:
    highest AP on val. parts: of the loss, by name, and `loss`, their sum; both smoothed as Darknet
    does what it prints. rows: the table of results so far. seconds: by what they were spent on.
    """

    model: Model
    optimizer: torch.optim.Optimizer
    ema: Ema | None = None
    iteration: int = 0
    best: float = -1.0
    parts: dict[str, float] = field(default_factory=dict)
    rows: list[dict[str, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def loss(self) -> float:
        """Return the smoothed loss, NaN before the first update."""
        return sum(self.parts.values()) if self.parts else math.nan

    def advance(self, parts: dict[str, float]) -> None:
        """Change the weights by the gradient that lies in the model; parts: of its loss."""
        self.optimizer.step()
        if self.ema:
            self.ema.update()
        self.iteration += 1
        self.parts = {k: 0.9 * self.parts.get(k, part) + 0.1 * part for k, part in parts.items()}

    def averaged(self) -> AbstractContextManager[None]:
        """Let the model have the averaged weights, if there are any, inside a block."""
        return self.ema.applied() if self.ema else nullcontext()

    def save_weights(self, path: Path, batch: int) -> None:
        """Write the model's weights; batch: pictures of an update."""
        self.model.seen = self.iteration * batch
        self.model.save_weights(path)

    def save(self, path: Path, identity: dict[str, str]) -> None:
        """Write all of it, with what the run is made of, beside the file and rename."""
        content = {
            "identity": identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state() if self.ema else None,
            "iteration": self.iteration,
            "best": self.best,
            "parts": self.parts,
            "rows": self.rows,
            "seconds": self.seconds,
            "rng": torch.get_rng_state(),
        }
        buffer = io.BytesIO()
        torch.save(content, buffer)
        replace(path, [buffer.getbuffer()])

    def restore(self, path: Path, identity: dict[str, str]) -> None:
        """Take up a saved run. Raises `WeightsError` if it is none, `OptionError` if another's."""
        span = Span(str(path))
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            theirs = content["identity"]
        except FileNotFoundError:
            hint = "start it without --resume"
            raise OptionError("no checkpoint to resume", span=span, hint=hint) from None
        except Exception:  # torch raises whatever the damage leads to
            message, hint = "not a checkpoint, or a damaged one", "start the run anew"
            raise WeightsError(message, span=span, hint=hint) from None
        for name, value in identity.items():
            if theirs.get(name) != value:
                hint = "resume with the options that the run was started with"
                raise OptionError(f"the run has another {name}", span=span, hint=hint)
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.ema:
            self.ema.restore(content["ema"])
        self.iteration, self.best = content["iteration"], content["best"]
        self.parts, self.rows = content["parts"], content["rows"]
        self.seconds = content["seconds"]
        torch.set_rng_state(content["rng"])
