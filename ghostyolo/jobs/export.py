"""A whole export: write the file, verify it, score it, and write a sample program."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from ghostyolo.data import Dataset, open_dataset
from ghostyolo.data.class_names import check_classes, checked_names, read_named
from ghostyolo.errors import OptionError, Span, printable
from ghostyolo.evaluation.validation import OnProgress, validate
from ghostyolo.exporters import calibration
from ghostyolo.exporters import sample as programs
from ghostyolo.exporters.export import write
from ghostyolo.exporters.formats import FORMATS, format_of
from ghostyolo.exporters.settings import BOXES, DYNAMIC, ExportSettings, Suppression
from ghostyolo.files import locked, replace
from ghostyolo.inference.choice import open_runtime
from ghostyolo.inference.verification import Deviation, verify
from ghostyolo.jobs.model_argument import model_on_cpu
from ghostyolo.model.detector import heads_of
from ghostyolo.model.model import Model
from ghostyolo.model.out_of_memory import told
from ghostyolo.network import Network
from ghostyolo.prediction.sources import find_pictures
from ghostyolo.runtime.interface import Runtime
from ghostyolo.runtime.registry import READ_SUFFIXES, RUNTIMES

EQUAL = 1e-3  # relative deviation up to which the outputs are called equal
LAYOUT_TEXTS = {
    "raw": "the outputs of the last layers",
    "decoded": "boxes and scores",
    "detections": "the boxes that suppression leaves",
}

logger = logging.getLogger(__name__)


class ExportResult(NamedTuple):
    """The files of an export, and their deviation from the model; as text, a line about each.

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
    scores: dict[str, dict[str, float]]

    def __repr__(self) -> str:
        return "\n".join(map(printable, _lines(self)))


def export(
    model: Model | Network | str | Path,
    path: str | Path,
    *,
    weights: str | Path | None = None,
    format: str | None = None,
    size: tuple[int, int] | None = None,
    batch: int = 1,
    dynamic: str | bool = False,
    decode: str | bool = False,
    nms: bool = False,
    thresh: float | None = None,
    iou: float | None = None,
    most: int | None = None,
    names: str | Path | Sequence[str] | None = None,
    opset: int | None = None,
    int8: Sequence[str | Path] | None = None,
    val: str | Path | Dataset | None = None,
    allow_outside: bool = False,
    no_cache: bool = False,
    sample: str = "",
    strict: bool = False,
    on_progress: OnProgress = lambda done, total: None,
) -> ExportResult:
    """Write a trained network as a file for other programs, and compare the file with it.

    It does what `ghostyolo export` does, whose help describes the options. model: a `Model`; or a
    cfg, its network or the name of a published cfg, with `weights`; or the folder of a run. path:
    its suffix tells the format, unless `format` does. size: (h, w) of the input. dynamic: "size",
    which is also True, or "batch". decode: "xyxy", also True, or "cxcywh". thresh, iou, most: of
    nms. names: class names, or a file of them (those of the model). int8: pictures, or folders of
    them, that ranges are measured on. val: the data set, on whose split val to score both.
    allow_outside, no_cache: see `open_dataset`. sample: "python" or "cpp", a program beside it.

    Logs a warning for fewer than 100 different pictures, for outputs that depart from the model's
    by more than the tolerance in docs/export.md, and for suppression that is not the cfg's; strict:
    raises it as `OptionError`, and nothing is written. Raises all kinds of `GhostyoloError`.

    >>> result = ghostyolo.export("runs/train/first", "first.onnx", decode=True)
    >>> result.files[0].name, result.layout, result.deviation.relative < 1e-4
    ('first.onnx', 'decoded', True)
    """
    for name, value, known in (("format", format, FORMATS), ("sample", sample, programs.LANGUAGES)):
        _check_known(name, value or "", known)
    suppression = _suppression(nms, thresh=thresh, iou=iou, most=most)
    model = model_on_cpu(model, weights, size)
    settings = ExportSettings(
        boxes=_word("decode", decode or nms, BOXES),
        suppression=suppression,
        dynamic=_word("dynamic", dynamic, DYNAMIC),
        batch=batch,
        names=checked_names(model.network, names) if names else tuple(model.names),
        opset=opset,
    )
    pictures = find_pictures(int8) if int8 else None
    read = partial(open_dataset, allow_outside=allow_outside, no_cache=no_cache)
    scored_on = _dataset(model, val, names, read) if val else None
    path, name, tell = Path(path), format_of(Path(path), format), _fail if strict else _warn
    with locked(path), told(batch=batch, size=model.network.options.size):
        return _export(model, path, settings, name, pictures, sample, scored_on, tell, on_progress)


def _export(
    model: Model, path: Path, settings: ExportSettings, name: str, pictures: list[Path] | None,
    sample: str, data: Dataset | None, tell: Callable[[str, str], None], on_progress: OnProgress,
) -> ExportResult:  # fmt: skip
    """Write and verify all files of an export, once its options are known to be good.

    name: of the format. data: to score the model and the file on. tell: `_warn` or `_fail`.
    """
    found = FORMATS[name]
    if data:
        _check_scores(path, settings)
    program = _program(model, path, settings, name, sample) if sample else ""
    if settings.suppression and (last := heads_of(model.network)[-1]).diou_exponent is not None:
        message = f"the file suppresses boxes by their IoU, not by nms_kind={last.nms_kind}"
        tell(f"{message} as ghostyolo detect does", "leave --nms out if that matters")
    images = None
    if pictures is not None:
        settings.check(model.network)
        images = calibration.inputs(model.network, pictures, settings)
        if shortage := calibration.shortage(images):
            tell(shortage, f"give {calibration.FEW_PICTURES} or more like yours")
    with TemporaryDirectory() as folder:
        # What fails the verification takes no place of an earlier file.
        written = Path(folder, path.name) if tell is _fail else path
        write(model, written, settings, name, images, on_progress)
        deviation = verify(model, written, settings, name, images)
        if deviation and (excess := deviation.excess(int8=images is not None)):
            hint = (
                "leave --nms out to compare them"
                if settings.suppression
                else "use --val for the AP"
            )
            tell(excess, hint if images is not None else "report it")
        for suffix in (*found.beside, path.suffix) if tell is _fail else ():
            replace(path.with_suffix(suffix), [written.with_suffix(suffix).read_bytes()])
    sample_path = programs.path_of(sample, path) if sample else None
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
        deviation=deviation,
        sample=sample_path,
        scores=_scores(model, path, data, on_progress) if data else {},
    )


def _suppression(nms: bool, **limits: float | None) -> Suppression | None:
    """Return the suppression of `--nms`, with its limits or their defaults."""
    given: dict[str, Any] = {name: value for name, value in limits.items() if value is not None}
    for name in given if not nms else ():
        raise OptionError(f"--{name} is for suppression in the file", hint="add --nms")
    return Suppression(**given) if nms else None


def _warn(message: str, hint: str) -> None:
    logger.warning("%s; %s", message, hint)


def _fail(message: str, hint: str) -> None:
    raise OptionError(message, hint=hint)


def _check_known(name: str, value: str, known: Collection[str]) -> None:
    """Raise `OptionError` unless a value is one of those known, or ""."""
    if value and value not in known:
        raise OptionError(f"{name}='{value}'", hint=f"use {' or '.join(known)}")


def _word(name: str, value: str | bool, known: Sequence[str]) -> str:
    """Return a word of those known: the first one for True, "" for False."""
    word = known[0] if value is True else value or ""
    _check_known(name, word, known)
    return word


def _dataset(
    model: Model,
    data: str | Path | Dataset,
    names: str | Path | Sequence[str] | None,
    read: Callable[..., Dataset],
) -> Dataset:
    """Return the data set to score on, or its split val. Raises `OptionError` for other classes."""
    if isinstance(data, Dataset):
        dataset = data
    else:
        dataset = read_named(read, data, "val", names, (model.names, "the model"))
    check_classes(model.network, dataset, "give the data that belongs to the cfg")
    dataset.log_defects()
    return dataset


def _check_scores(path: Path, settings: ExportSettings) -> None:
    """Raise `OptionError` unless the written file can be scored."""
    if settings.suppression:
        message = "a score needs boxes of every confidence, before suppression"
        raise OptionError(message, hint="leave --nms out")
    if path.suffix.lower() not in READ_SUFFIXES:
        message = f"no runtime here opens a '{path.suffix}' file for a score"
        raise OptionError(message, span=Span(str(path)), hint="leave --val out")


def _program(model: Model, path: Path, settings: ExportSettings, name: str, sample: str) -> str:
    """Return the sample program. Raises `OptionError` if it cannot read the file."""
    if name != programs.FORMAT:
        message, hint = f"--sample {sample} reads ONNX", "give OUT an .onnx suffix"
        raise OptionError(message, hint=hint)
    thresh = (settings.suppression or Suppression()).thresh
    return programs.text(sample, settings.metadata(model.network), path, thresh)


def _scores(
    model: Model, path: Path, data: Dataset, on_progress: OnProgress
) -> dict[str, dict[str, float]]:
    """Return the scores of the model and of the file, by title."""
    with open_runtime(path) as runtime:
        pair: dict[str, Model | Runtime]
        pair = {"the cfg in torch": model, f"the file in {runtime.title}": runtime}
        scores = {}
        for past, (title, each) in enumerate(pair.items()):
            advance = partial(_advance, on_progress, past)
            scores[title] = validate(each, data, on_progress=advance).scores
        return scores


def _advance(on_progress: OnProgress, past: int, done: int, total: int) -> None:
    """Report the progress of both validations as that of one. past: validations before."""
    on_progress(past * total + done, 2 * total)


def _lines(result: ExportResult) -> Iterator[str]:
    """Yield lines about the files, their deviation from the model, and the scores of both."""
    files = " and ".join(map(str, result.files))
    holds = f"{result.layout}: {LAYOUT_TEXTS[result.layout]}"
    yield f"wrote {files}: {result.size / 1e6:.1f} MB, {result.format}, {holds}"
    runtime, deviation = result.runtime, result.deviation
    if not runtime:
        yield f"not verified: no runtime here reads {result.format} files"
    elif deviation is None:
        yield f"not run: {runtime} is not installed ({RUNTIMES[runtime].install})"
    elif math.isinf(deviation.absolute):
        yield (
            f"{runtime} gives '{deviation.output}' in another shape than the model: the numbers of "
            "detections differ, so their difference is not told"
        )
    else:
        yield f"{runtime}: {_deviation_text(deviation)}"
    if result.int8:
        share = result.size / result.float_size
        yield f"8-bit: {share:.0%} of the {result.float_size / 1e6:.1f} MB in float"
        if deviation and math.isfinite(deviation.rms):
            yield f"its outputs depart by {deviation.rms:.0%} (root mean square) on your pictures"
    if result.sample:
        yield f"wrote {result.sample}"
    for what, scores in result.scores.items():
        yield f"{what}: AP {scores['AP']:.4f}, AP50 {scores['AP50']:.4f}"


def _deviation_text(deviation: Deviation) -> str:
    """Return in words how much a file's outputs differ from the model's."""
    most, share = f"{deviation.absolute:.2g}", deviation.relative
    if share <= EQUAL:
        return f"equal to the model within {most} (largest difference, in {deviation.output})"
    of = f"{share:.1%} of the largest value of {deviation.output}"
    return f"differs from the model by at most {most}, {of}"
