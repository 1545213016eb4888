"""A whole export: write the file, verify it, score it, and write a sample program."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ghostyolo.errors import OptionError, Span
from ghostyolo.exporters import export, sample
from ghostyolo.exporters.formats import FORMATS, format_of
from ghostyolo.exporters.settings import ExportSettings
from ghostyolo.files import replace
from ghostyolo.inference.choice import open_runtime
from ghostyolo.inference.verification import Deviation, verify
from ghostyolo.model.model import Model
from ghostyolo.runtime.interface import Runtime
from ghostyolo.runtime.registry import READ_SUFFIXES

FEW_PICTURES = 32  # with fewer, the ranges of 8-bit values depend on the choice of pictures

logger = logging.getLogger(__name__)


class ExportResult(NamedTuple):
    """The files of an export, and their deviation from the model.

    size: bytes of all files. float_size: bytes of the model's weights. runtime: in which the file
    was verified, "" if no runtime reads it. deviation: None if that runtime is not installed.
    sample: the sample program, if any. scores: of the model and of the file, by title.
    """

    files: tuple[Path, ...]
    size: int
    float_size: int
    format: str
    layout: str
    int8: bool
    runtime: str
    deviation: Deviation | None
    sample: Path | None
    scores: dict[str, Any]


def export_model(
    model: Model,
    path: str | Path,
    settings: ExportSettings | None = None,
    format_name: str | None = None,
    *,
    pictures: Sequence[Path] | None = None,
    sample_language: str = "",
    score: Callable[[Model | Runtime], Any] | None = None,
) -> ExportResult:
    """Export a model and compare the file with it.

    format_name: a key of `FORMATS`, by default that of the suffix. pictures: for 8-bit weights and
    activations, whose ranges are measured on them. sample_language: a key of `sample.LANGUAGES`,
    for a sample program beside the file. score: called with the model and with the opened file,
    for example `evaluation.validation.validate`.

    Logs a warning for few pictures. Raises `OptionError`, `CfgError` and `DataError`. Nothing is
    written if the settings do not allow a sample or a score.
    """
    path, settings = Path(path), settings or ExportSettings()
    name = format_of(path, format_name)
    found = FORMATS[name]
    metadata = settings.metadata(model.network)
    if score and settings.suppression:
        message = "a score needs boxes of every confidence, before suppression"
        raise OptionError(message, hint="leave --nms out")
    if score and path.suffix.lower() not in READ_SUFFIXES:
        message = f"no runtime here opens a '{path.suffix}' file for a score"
        raise OptionError(message, span=Span(str(path)), hint="leave --val out")
    if sample_language and name != sample.FORMAT:
        message, hint = f"--sample {sample_language} reads ONNX", "give OUT an .onnx suffix"
        raise OptionError(message, hint=hint)
    program = sample.text(sample_language, metadata, path) if sample_language else ""
    if pictures is not None and len(pictures) < FEW_PICTURES:
        message = "ranges from %d pictures only; give %d or more like yours"
        logger.warning(message, len(pictures), FEW_PICTURES)
    export.write(model, path, settings, name, pictures)
    sample_path = sample.path_of(sample_language, path) if program else None
    if sample_path:
        replace(sample_path, [program.encode()])
    files = (path, *(path.with_suffix(suffix) for suffix in found.beside))
    return ExportResult(
        files=files,
        size=sum(file.stat().st_size for file in files),
        float_size=4 * sum(p.numel() for p in model.parameters()),
        format=name,
        layout=settings.layout,
        int8=pictures is not None,
        runtime=found.runtime,
        deviation=verify(model, path, settings, name),
        sample=sample_path,
        scores=_scores(model, path, score) if score else {},
    )


def _scores(model: Model, path: Path, score: Callable[[Model | Runtime], Any]) -> dict[str, Any]:
    with open_runtime(path) as runtime:
        return {"the cfg in torch": score(model), f"the file in {runtime.title}": score(runtime)}
