"""The files of a model: of a path, of the folder of a training run, of the name of a published cfg.

The published cfgs are those of the folder `cfg`: beside the package in a checkout, in it when
installed.
"""

from __future__ import annotations

import os
from glob import escape, glob
from shlex import quote
from typing import TYPE_CHECKING

from ghostyolo.errors import CfgError, Findings, Span, WeightsError
from ghostyolo.network.graph import Network, loads
from ghostyolo.syntax.sections import read_text
from ghostyolo.syntax.suggestions import nearest

if TYPE_CHECKING:
    from pathlib import Path

# In the folder of a run: its network, the weights with the best score, those of the last iteration.
CFG, BEST, LAST = "model.cfg", "best.weights", "last.weights"


def load(path: str | Path, *, findings: Findings | None = None) -> Network:
    """Read a network.

    path: a cfg file, the folder of a training run, or the name of a published cfg. A file or folder
    of that name goes first.

    Raises `CfgError`, with file and line, for a mistake in it.

    >>> network = ghostyolo.load("ghostnet-1.0-coco")
    >>> len(network), network.options.shape
    (200, Shape(c=3, h=416, w=416))
    """
    file = cfg_file(path)
    return loads(read_text(file), path=file, findings=findings)


def model_files(
    source: str | Path, weights: str | Path | None = None
) -> tuple[str, str | Path | None]:
    """Return the cfg of `source`, see `cfg_file`, and the weights.

    weights: None for those in a run's folder: the best ones, else the last ones with a warning. For
    other sources None is returned as it is.

    Raises `CfgError`, and `WeightsError` if the folder has no weights.
    """
    cfg = cfg_file(source)
    if weights is not None or not os.path.isdir(source):
        return cfg, weights
    best, last = (os.path.join(source, name) for name in (BEST, LAST))
    if os.path.exists(best):
        return cfg, best
    if not os.path.exists(last):
        hint = f"train it: {_resuming(os.path.normpath(source))}; or give WEIGHTS"
        raise WeightsError("no weights yet", span=Span(str(source)), hint=hint)
    import logging  # takes time that reading a cfg does not need

    logging.getLogger(__name__).warning("%s: no %s yet, so %s is used", source, BEST, LAST)
    return cfg, last


def _resuming(folder: str) -> str:
    """Return the command that continues a run."""
    project = os.path.dirname(folder) or os.curdir
    words = ("ghostyolo", "train", folder, "DATA", "--project", project, "--resume")
    return " ".join(map(quote, words))


def weights_path(source: str | Path) -> str:
    """Return the path of weights: of those of a run's folder, see `model_files`, else as given."""
    return str(model_files(source)[1] if os.path.isdir(source) else source)


def cfg_file(source: str | Path) -> str:
    """Return the path of a cfg: of the cfg in a run's folder, of a published cfg, else as given.

    source: the name of a published cfg may end with .cfg; a file or folder of that name goes first.
    Raises `CfgError` for a folder that is of no run, and for a name that is neither.
    """
    path = os.fspath(source)
    if os.path.isdir(path):
        cfg = os.path.join(path, CFG)
        if not os.path.exists(cfg):
            hint = "give a cfg file or the folder of a run"
            raise CfgError(f"a folder without {CFG}", span=Span(path), hint=hint, rule="unreadable")
        return cfg
    if os.path.exists(path) or os.path.dirname(path):
        return path
    known = published_cfgs()
    name = path.removesuffix(".cfg")
    if name not in known:
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else f"known: {', '.join(known)}"
        message = "no file and no cfg of that name"
        raise CfgError(message, span=Span(path), hint=hint, rule="unreadable")
    return known[name]


def model_name(source: str | Path) -> str:
    """Return a name for what is made of a model: that of a run's folder, else of the file."""
    folder, name = os.path.split(os.path.abspath(cfg_file(source)))
    return os.path.basename(folder) if name == CFG else os.path.splitext(name)[0]


def published_cfgs() -> dict[str, str]:
    """Return the paths of the published cfgs by name."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    within, beside = (os.path.join(folder, "cfg") for folder in (package, os.path.dirname(package)))
    folder = within if os.path.isdir(within) else beside
    files = sorted(glob(os.path.join(escape(folder), "*.cfg")))
    return {os.path.basename(file).removesuffix(".cfg"): file for file in files}
