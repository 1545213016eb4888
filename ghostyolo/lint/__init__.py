"""Find what is wrong or odd in a cfg, say what to do about it, and fix it where the fix is certain.

A new rule: a check in the module of its subject, named in that module's `CHECKS`; a paragraph in
rules.txt; a cfg in tests/cases/lint that breaks it.
"""

from ghostyolo.lint.edits import Change
from ghostyolo.lint.linter import SEVERITIES, check, check_file, fix, fix_file, read_text
from ghostyolo.lint.rules import registry

__all__ = [
    "SEVERITIES", "Change", "check", "check_file", "fix", "fix_file", "read_text", "registry",
]  # fmt: skip
