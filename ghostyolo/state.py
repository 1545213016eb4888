"""Everything that changes while training, saved and restored whole."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ghostyolo.errors import OptionError, Span, WeightsError
from ghostyolo.files import replace
from ghostyolo.model import Model


@dataclass
class State:
    """What changes while training. iteration: updates done; rows: the table of results so far."""

    model: Model
    optimizer: torch.optim.SGD
    iteration: int = 0
    best: float = -1.0
    loss: float = math.nan  # smoothed as Darknet prints it
    rows: list[dict[str, float]] = field(default_factory=list)

    def save(self, path: Path, identity: dict[str, str]) -> None:
        """Write all of it, with what the run is made of, beside the file and rename."""
        content = {
            "identity": identity,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "iteration": self.iteration,
            "best": self.best,
            "loss": self.loss,
            "rows": self.rows,
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
        self.iteration, self.best = content["iteration"], content["best"]
        self.loss, self.rows = content["loss"], content["rows"]
        torch.set_rng_state(content["rng"])
