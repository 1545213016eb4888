"""Check cfgs and fix them.

Each finding has a rule, which `registry` explains. Findings come from the parser and from the
checks of this folder.
"""

from __future__ import annotations

from pathlib import Path

from ghostyolo.errors import CfgError, Diagnostic, Findings, Span, WeightsError
from ghostyolo.files import replace
from ghostyolo.lint import heads, portability, sizes, structure, training
from ghostyolo.lint.edits import Change, apply
from ghostyolo.lint.parsed_cfg import read
from ghostyolo.network import Network, load, weights_file
from ghostyolo.network.model_files import cfg_file, weights_path
from ghostyolo.syntax import sections

SEVERITIES = ("error", "warning", "note")
_CHECKS = (*heads.CHECKS, *structure.CHECKS, *training.CHECKS, *portability.CHECKS)
_ROUNDS = 20
_SHAPE_OFFSET = 97  # a prime, so that strides and groups do not divide the shifted shape


def check_file(path: str | Path, weights: str | Path | None = None) -> list[Diagnostic]:
    """Return the findings in a file, in the order of its lines.

    A file that cannot be read gives one finding that says so. path: see `cfg_file`. weights: a
    `.weights` file or the folder of a run, see `weights_path`; their length and values are checked
    if the cfg has no errors.
    """
    try:
        path = cfg_file(path)
        found = check(read_text(path), path)
    except CfgError as error:
        return [error.diagnostic]
    if weights and not any(finding.severity == "error" for finding in found):
        found += _check_weights(weights, load(path, findings=Findings(quiet=True)))
    return found


def _check_weights(path: str | Path, network: Network) -> list[Diagnostic]:
    try:
        path = weights_path(path)
        contents = weights_file.inspect(path, network)
    except WeightsError as error:
        return [error.diagnostic._replace(rule="weights-length")]
    hint, rule = weights_file.DIVERGED, "weights-not-finite"
    message = weights_file.not_finite(path, contents)
    return [Diagnostic("error", Span(str(path)), "", message, hint, rule)] if message else []


def fix_file(path: str | Path) -> list[Change]:
    """Fix a file as `fix` does; return the changes, none if the file cannot be read."""
    try:
        path = cfg_file(path)
        old = read_text(path)
    except CfgError:
        return []
    new, changes = fix(old, str(path))
    if new != old:
        replace(path, [new.encode("utf-8", "surrogateescape")])
    return changes


def read_text(path: str | Path) -> str:
    """Return the text of a cfg, unchanged if it is written again. Raises `CfgError`."""
    return sections.read_text(path, "surrogateescape")


def check(text: str, path: str = "<cfg>") -> list[Diagnostic]:
    """Return the findings in the text of a cfg, in the order of its lines.

    After an error the parser continues with a placeholder for the layer, whose shape is a guess.
    A finding that depends on this guess may be false. The text is therefore parsed again with
    another guess, and only the findings of both times are returned. The first error depends on no
    guess. An edit is kept if both times suggest it.
    """
    text = text.encode("utf-8", "surrogateescape").decode(
        "utf-8", "replace"
    )  # so that it can be printed
    found = _collect(text, path, 0)
    if first := next((finding for finding in found if finding.severity == "error"), None):
        again = {_without_edits(item): item.edits for item in _collect(text, path, _SHAPE_OFFSET)}
        found = [
            item if again.get(bare) == item.edits else bare
            for item in found
            if (bare := _without_edits(item)) in again or item is first
        ]
    found = sizes.explain(text, path, found)
    return sorted(dict.fromkeys(found), key=lambda item: item.span.line if item.span else 0)


def _collect(text: str, path: str, shape_offset: int) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    cfg = read(text, path, Findings(found.append, shape_offset=shape_offset))
    found = [
        heads.add_filters_edit(cfg, item) if item.rule == "head-filters" else item for item in found
    ]
    for check_rule in _CHECKS:
        found.extend(check_rule(cfg))
    return found


def fix(text: str, path: str = "<cfg>") -> tuple[str, list[Change]]:
    """Return the text with every certain fix applied, and the changes.

    A fix may reveal another mistake, so this repeats until there is nothing left to fix. Edits
    after which the text has more errors are left out.
    """
    changes: list[Change] = []
    found = check(text, path)
    for _ in range(_ROUNDS):
        groups = [[edit for finding in found for edit in finding.edits]]
        groups += [list(finding.edits) for finding in found if finding.edits]
        for edits in groups:  # all together, else one after the other
            fixed, done = apply(text, edits)
            after = check(fixed, path) if done else found
            if done and _errors(after) <= _errors(found):
                break
        else:
            break
        text, found = fixed, after
        changes += done
    return text, changes


def _without_edits(finding: Diagnostic) -> Diagnostic:
    return finding._replace(edits=())


def _errors(found: list[Diagnostic]) -> int:
    return sum(finding.severity == "error" for finding in found)
