"""Find mistakes in cfgs, suggest a correction for each, and apply those that are certain.

A new rule needs a check in the module of its subject, listed in `CHECKS` there; a paragraph in
rules.txt; and a cfg in tests/cases/lint that breaks the rule.
"""

from ghostyolo.lint.edits import Change
from ghostyolo.lint.linter import SEVERITIES, check, check_file, fix, fix_file, read_text
from ghostyolo.lint.rules import registry

__all__ = [
    "SEVERITIES", "Change", "check", "check_file", "fix", "fix_file", "read_text", "registry",
]  # fmt: skip
