"""Mismatches of shapes that are caused by the network's input size: suggest sizes without them."""

from __future__ import annotations

from ghostyolo.errors import Diagnostic, Edit, Findings
from ghostyolo.lint.edits import apply
from ghostyolo.lint.parsed_cfg import ParsedCfg, read

_RULES = ("size-mismatch", "stride")
_STRIDES = (32, 64, 128)  # of published networks


def explain(text: str, path: str, found: list[Diagnostic]) -> list[Diagnostic]:
    """Replace findings about shapes by one about the input size, if that is the cause."""
    mismatches = [item for item in found if item.rule in _RULES]
    if not mismatches:
        return found
    cfg = read(text, path, Findings.ignored())
    sizes = next(filter(None, (_fitting(cfg, path, stride) for stride in _STRIDES)), [])
    if not sizes:
        return found
    net, first = cfg.network.options, mismatches[0]
    key = "height" if any(width == net.width for width, _ in sizes) else "width"
    line = first.span.line if first.span else 0
    message = (
        f"{net.width}x{net.height} (WxH) does not divide evenly: "
        f"[{first.section}] in line {line}: {first.message}"
    )
    hint = f"use {' or '.join(f'{width}x{height}' for width, height in sizes)}"
    finding = cfg.error("input-size", None, key, message, hint)
    follow = (*_RULES, "input-multiple")
    return [finding] + [item for item in found if item.rule not in follow]


def _fitting(cfg: ParsedCfg, path: str, stride: int) -> list[tuple[int, int]]:
    """Return the next multiples of stride below and above the input size without a mismatch."""
    size = cfg.network.options.width, cfg.network.options.height
    width, height = (max(stride, side // stride * stride) for side in size)
    wider, higher = (-(-side // stride) * stride for side in size)
    return [
        other
        for other in dict.fromkeys([(width, height), (wider, higher)])
        if other != size and _fits(cfg, path, other)
    ]


def _fits(cfg: ParsedCfg, path: str, size: tuple[int, int]) -> bool:
    edits = [
        Edit(cfg.span(None, key).line, f"{key}={side}")
        for key, side in zip(("width", "height"), size, strict=True)
        if cfg.option(None, key)
    ]
    found: list[Diagnostic] = []
    read(apply(cfg.text, edits)[0], path, Findings(found.append))
    return not any(item.rule in _RULES for item in found)
