"""What a process of the benchmark is told to do, as a line of JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from ghostyolo.errors import GhostyoloError

Answer = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Task:
    """One thing to be measured in a process of its own.

    what: "network" (a cfg or an exported file, in the runtime `program`), "file" (any ONNX file in
    it), "machine" (its rates) or "layers" (also those of a cfg, in torch). size: (h, w) where it is
    open.
    """

    what: str
    program: str = "torch"
    source: str = ""
    weights: str | None = None
    size: tuple[int, int] | None = None
    batch: int = 1
    threads: int = 1

    def line(self) -> str:
        """Return the task as a line."""
        return json.dumps(asdict(self)) + "\n"


def read(line: str) -> Task:
    """Return the task that a line holds."""
    values = json.loads(line)
    size = values.pop("size")
    return Task(**values, size=tuple(size) if size else None)


@contextmanager
def answering() -> Iterator[Answer]:
    """Yield what writes lines of JSON to standard output; an error of the user's becomes one.

    What libraries print goes to standard error instead.
    """
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)

        def answer(content: dict[str, Any]) -> None:
            answers.write(json.dumps(content) + "\n")
            answers.flush()

        try:
            yield answer
        except GhostyoloError as error:
            answer({"error": str(error)})
