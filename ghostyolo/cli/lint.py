"""ghostyolo lint: what is wrong or odd in a cfg, and how to mend it."""

from __future__ import annotations

import argparse
import json
from collections import Counter

from ghostyolo import lint
from ghostyolo.errors import CfgError, Diagnostic, Findings, WeightsError
from ghostyolo.files import replace
from ghostyolo.network import load
from ghostyolo.syntax.suggestions import nearest

ABOUT = "The ID in parentheses behind a finding is its rule; --explain ID tells what it is about."


def options(p: argparse.ArgumentParser) -> None:
    """Declare what lint takes."""
    p.epilog = ABOUT
    p.add_argument("cfg", metavar="CFG", nargs="*")
    p.add_argument("--fix", action="store_true", help="mend what is sure, say what was changed")
    p.add_argument("--weights", metavar="FILE", help="check that this .weights fits the one CFG")
    p.add_argument("--strict", action="store_true", help="exit with 1 for warnings too")
    p.add_argument("--json", action="store_true", help="print JSON for programs")
    p.add_argument("--explain", metavar="ID", help="explain a rule and do nothing else")
    p.add_argument("--rules", action="store_true", help="list the rules and do nothing else")
    p.set_defaults(usage=p.error)


def run(args: argparse.Namespace) -> int:
    """Check cfgs and print the findings; return 1 if one of them is an error."""
    if args.rules or args.explain:
        _tell(args)
        return 0
    if not args.cfg or (args.weights and len(args.cfg) > 1):
        args.usage(
            "--weights goes with one CFG" if args.cfg else "give one or more CFG, or --rules"
        )
    changes = {path: _mend(path) for path in args.cfg} if args.fix else {}
    found = [finding for path in args.cfg for finding in _check(path, args.weights)]
    if args.json:
        print(json.dumps({"findings": [_as_dict(finding) for finding in found], "fixed": changes}))
    else:
        _print(changes, found, len(args.cfg))
    bad = ("error", "warning") if args.strict else ("error",)
    return int(any(finding.severity in bad for finding in found))


def _tell(args: argparse.Namespace) -> None:
    rules = lint.registry()
    if args.rules:
        for name, rule in rules.items():
            print(f"{name:<20} {rule.summary}")
    elif args.explain in rules:
        print(rules[args.explain])
    else:
        near = nearest(args.explain, rules)
        hint = f"did you mean {near}?" if near else "--rules lists them"
        args.usage(f"no rule {args.explain}; {hint}")


def _mend(path: str) -> list[str]:
    """Mend a file and return what was changed; one that cannot be read is left to the check."""
    try:
        old = lint.read_text(path)
    except CfgError:
        return []
    new, changes = lint.fix(old, path)
    if new != old:
        replace(path, [new.encode("utf-8", "surrogateescape")])
    return [str(change) for change in changes]


def _check(path: str, weights: str | None) -> list[Diagnostic]:
    found = lint.check_file(path)
    if weights and not any(finding.severity == "error" for finding in found):
        from ghostyolo.model import weights as files

        try:
            files.opened(weights, load(path, findings=Findings(quiet=True)))
        except WeightsError as error:
            found.append(error.diagnostic._replace(rule="weights-length"))
    return found


def _print(changes: dict[str, list[str]], found: list[Diagnostic], files: int) -> None:
    for path, lines in changes.items():
        for line in lines:
            print(f"{path}: fixed: {line}")
    for finding in found:
        place = f"{finding.span}: "
        print(f"{place}{finding.severity}: {str(finding).removeprefix(place)} ({finding.rule})")
    counts = Counter(finding.severity for finding in found)
    parts = [f"{counts[name]} {name}{'s' * (counts[name] != 1)}" for name in lint.SEVERITIES]
    print(f"{', '.join(parts)} in {files} file{'s' * (files != 1)}")


def _as_dict(finding: Diagnostic) -> dict[str, object]:
    place = finding.span
    return {
        "path": place.path if place else "",
        "line": place.line if place else 0,
        "severity": finding.severity,
        "rule": finding.rule,
        "section": finding.section,
        "message": finding.message,
        "hint": finding.hint,
        "fixable": bool(finding.edits),
    }
