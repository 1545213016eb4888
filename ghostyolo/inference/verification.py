"""A written file, run by the program that it is for, against the model that it was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ghostyolo.exporters.comparison import Checked, compare
from ghostyolo.exporters.export import FORMATS
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.model.model import Model
from ghostyolo.runtime.input_shape import output_names
from ghostyolo.runtime.programs import PROGRAMS, installed, open_file
from ghostyolo.runtime.threads import allowed


def check(model: Model, path: str | Path, form: ExportSettings, name: str) -> Checked | None:
    """Run a written file against the model; None where no program that runs it is installed.

    name: of the file's format. Raises `DataError` where the program refuses the file.
    """
    program = FORMATS[name].runtime
    if installed(PROGRAMS[program]) is None:
        return None
    with open_file(Path(path), program, None, form.batch, allowed(), "cpu") as runtime:

        def run(images: np.ndarray) -> dict[str, np.ndarray]:
            return dict(zip(output_names(runtime.metadata), runtime.run(images), strict=True))

        return compare(model, form, run)
