"""ghostyolo lint: find mistakes and oddities in a cfg, and fix them."""

from __future__ import annotations

import argparse
from collections import Counter

from ghostyolo import lint
from ghostyolo.cli import shared
from ghostyolo.errors import Diagnostic, counted, printable
from ghostyolo.syntax.arguments import Parser
from ghostyolo.syntax.suggestions import nearest

ABOUT = "The ID in parentheses after a finding is its rule; --explain ID explains it."
EXAMPLES = ("my.cfg --weights best.weights", "runs/train/first --strict")


def options(p: Parser) -> None:
    """Declare what lint takes."""
    p.epilog = ABOUT
    group = p.group("model")
    group.add_argument("cfg", metavar="CFG", nargs="*", help=shared.CFG)
    p.or_usage = {"cfg": "RUN"}
    text = "check that these weights, a file or a run's folder, fit the one CFG that is given"
    group.add_argument("--weights", metavar="FILE", help=text)
    group, text = p.group("checks"), "return exit code 1 for warnings too"
    group.add_argument("--strict", action="store_true", help=text)
    text = "fix mistakes that have one certain remedy; print the changes"
    group.add_argument("--fix", action="store_true", help=text)
    group, text = p.group("rules"), "explain a rule and do nothing else"
    group.add_argument("--explain", metavar="ID", help=text)
    text = "list the rules and do nothing else"
    group.add_argument("--rules", action="store_true", help=text)
    shared.add_json(p)
    p.set_defaults(usage=p.error)


def run(args: argparse.Namespace) -> int:
    """Check cfgs and print the findings; return 1 if one of them is an error."""
    if args.rules or args.explain:
        _print_rules(args)
        return 0
    if not args.cfg or (args.weights and len(args.cfg) > 1):
        args.usage(
            "--weights goes with one CFG" if args.cfg else "give one or more CFG, or --rules"
        )
    changes = {path: lint.fix_file(path) for path in args.cfg} if args.fix else {}
    fixed = {path: [str(change) for change in made] for path, made in changes.items()}
    found = [finding for path in args.cfg for finding in lint.check_file(path, args.weights)]
    if args.json:
        findings = [finding.as_dict() for finding in found]
        shared.say(shared.json_text({"findings": findings, "fixed": fixed}))
    else:
        _print(fixed, found, len(args.cfg))
    bad = ("error", "warning") if args.strict else ("error",)
    return int(any(finding.severity in bad for finding in found))


def _print_rules(args: argparse.Namespace) -> None:
    rules = lint.registry()
    if args.rules:
        for name, rule in rules.items():
            shared.say(f"{name:<20} {rule.summary}")
    elif args.explain in rules:
        shared.say(str(rules[args.explain]), keep="\n")
    else:
        near = nearest(args.explain, rules)
        hint = f"did you mean {near}?" if near else "--rules lists them"
        args.usage(f"no rule {args.explain}; {hint}")


def _print(fixed: dict[str, list[str]], found: list[Diagnostic], files: int) -> None:
    for path, changes in fixed.items():
        for change in changes:
            shared.say(f"{path}: fixed: {change}")
    for finding in found:
        place = printable(f"{finding.span}: ")
        shared.say(
            f"{place}{finding.severity}: {str(finding).removeprefix(place)} ({finding.rule})"
        )
    counts = Counter(finding.severity for finding in found)
    parts = (counted(counts[name], name) for name in lint.SEVERITIES)
    shared.say(f"{', '.join(parts)} in {counted(files, 'file')}")
