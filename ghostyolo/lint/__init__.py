"""Find what is wrong or odd in a cfg, say what to do, and do it where that is sure."""

from ghostyolo.lint.fix import Change
from ghostyolo.lint.linter import SEVERITIES, check, check_file, fix, read_text
from ghostyolo.lint.rules import registry

__all__ = ["SEVERITIES", "Change", "check", "check_file", "fix", "read_text", "registry"]
