"""A cfg as text, as sections and as a network, so that findings can name the line of a key."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partialmethod
from typing import TypeVar

from ghostyolo.errors import Diagnostic, Edit, Findings, Span
from ghostyolo.layers import Layer
from ghostyolo.network import Network, Node, loads
from ghostyolo.network.graph import Placeholder
from ghostyolo.network.net_options import NetOptions
from ghostyolo.network.outputs import detection_heads
from ghostyolo.syntax import sections as syntax
from ghostyolo.syntax.sections import Option, Section

Kind = TypeVar("Kind", bound=Layer)


@dataclass(frozen=True)
class ParsedCfg:
    """A cfg that is checked. A node of None stands for `[net]`."""

    text: str
    network: Network
    sections: tuple[Section, ...]

    @cached_property
    def by_line(self) -> dict[int, Section]:
        """Return the sections by the number of their first line."""
        return {section.span.line: section for section in self.sections}

    @cached_property
    def readers(self) -> dict[int, list[Node]]:
        """Return, by the index of a node, the nodes that read its output."""
        found: dict[int, list[Node]] = {}
        for node in self.network:
            for index in set(node.inputs):
                found.setdefault(index, []).append(node)
        return found

    @cached_property
    def heads(self) -> list[Node]:
        """Return the nodes of the detection heads."""
        return [node for node, _ in detection_heads(self.network)]

    @property
    def complete(self) -> bool:
        """Return whether no node is a placeholder: every section was read without an error."""
        return not any(isinstance(node.layer, Placeholder) for node in self.network)

    def section(self, node: Node | None) -> Section:
        """Return the section of a node."""
        if node is not None and node.span is not None:
            return self.by_line[node.span.line]
        if self.sections and self.sections[0].name in NetOptions.names:
            return self.sections[0]
        return Section("net", (), Span("<cfg>"))

    def option(self, node: Node | None, key: str) -> Option | None:
        """Return the first line of a node's section with the key, which Darknet reads, or None."""
        return next((item for item in self.section(node).options if item.key == key), None)

    def span(self, node: Node | None, key: str = "") -> Span:
        """Return the line of a node's key, or of its section if the key is not written."""
        option = self.option(node, key)
        return option.span if option else self.section(node).span

    def set(self, node: Node, key: str, value: str) -> Edit:
        """Return the edit that sets a key of a node."""
        section, option = self.section(node), self.option(node, key)
        if option:
            return Edit(option.span.line, f"{key}={value}")
        last = section.options[-1].span if section.options else section.span
        return Edit(last.line, f"{key}={value}", below=True)

    def finding(
        self,
        severity: str,
        rule: str,
        node: Node | None,
        key: str,
        message: str,
        hint: str,
        *edits: Edit,
    ) -> Diagnostic:
        """Return a finding about a key of a node; severity: see `Diagnostic`."""
        name = self.section(node).name
        return Diagnostic(severity, self.span(node, key), name, message, hint, rule, edits)

    error = partialmethod(finding, "error")
    warn = partialmethod(finding, "warning")
    note = partialmethod(finding, "note")


def read(text: str, path: str, findings: Findings) -> ParsedCfg:
    """Parse a cfg; if `findings` has a callback, continue after mistakes."""
    network = loads(text, path=path, findings=findings)
    return ParsedCfg(text, network, tuple(syntax.parse(text, path, Findings.ignored())))


def place(line: Span | None) -> str:
    """Return "line N" for a message, or "another line" if the line is not known."""
    return f"line {line.line}" if line else "another line"


def layers(cfg: ParsedCfg, kind: type[Kind]) -> Iterator[tuple[Node, Kind]]:
    """Yield the nodes whose layers are of a kind, each with its layer."""
    for node in cfg.network:
        if isinstance(node.layer, kind):
            yield node, node.layer
