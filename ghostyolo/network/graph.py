"""The graph of a network: nodes, shapes and references, read from the text of a cfg and written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import prod

from ghostyolo import layers
from ghostyolo.errors import CfgError, Edit, Findings, Place, Span
from ghostyolo.layers import Layer, LayerError, Shape
from ghostyolo.layers.base import MAX_VALUES
from ghostyolo.layers.route import Route
from ghostyolo.network.net_options import NetOptions, read_net
from ghostyolo.network.summary import one_line
from ghostyolo.syntax import sections as syntax
from ghostyolo.syntax.sections import Option, Section, trailing_comment, used_options
from ghostyolo.syntax.suggestions import FOREIGN_SECTIONS, nearest, slip

IMAGE = -1  # the index of the network's input
MAX_WEIGHTS = 1 << 28  # in one tensor, 1 GiB
_RECURRENT = ("rnn", "gru", "lstm", "crnn", "conv_lstm", "history")


@dataclass(frozen=True)
class Node:
    """A layer in a network. Indices are absolute and count from 0; -1 is the image.

    inputs: the indices of the nodes whose outputs it reads. name: the comment above its section.

    >>> node = ghostyolo.load("ghostnet-1.0-coco")[0]
    >>> node.name, node.layer.kind, node.shape
    ('stem', 'convolutional', Shape(c=16, h=208, w=208))
    """

    index: int
    layer: Layer
    inputs: tuple[int, ...]
    refs: tuple[tuple[str, int], ...]  # side references by key
    shape: Shape
    name: str = field(default="", compare=False)
    span: Span | None = field(default=None, compare=False)

    @property
    def shares_with(self) -> int | None:
        """Return the index of the node whose weights this node uses, None if it has its own."""
        return next((index for key, index in self.refs if self.layer.refs[key] == "weights"), None)

    def error(self, problem: str | LayerError, hint: str = "") -> CfgError:
        """Return an error about this node, with its section and line."""
        if isinstance(problem, LayerError):
            hint = problem.hint
        return CfgError(str(problem), span=self.span, section=self.layer.kind, hint=hint)

    @property
    def title(self) -> str:
        """Return the last line of the comment above the section."""
        return self.name.splitlines()[-1] if self.name else ""


class Placeholder(Layer):
    """Takes the place of a section with an error, so that the other sections can be checked."""

    @property
    def kind(self) -> str:
        return "placeholder"


@dataclass
class Network:
    """A list of nodes in the order of the file; `add` checks and appends each of them.

    >>> network = ghostyolo.load("ghostnet-1.0-coco")
    >>> [node.index for node in network if node.layer.kind == "yolo"]
    [191, 195, 199]
    """

    options: NetOptions
    nodes: list[Node] = field(default_factory=list)
    comment: str = field(default="", compare=False)
    __repr__ = one_line

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def __len__(self) -> int:
        return len(self.nodes)

    def __getitem__(self, index: int) -> Node:
        return self.nodes[index]

    def shape(self, index: int) -> Shape:
        """Return the shape of a node's output, or of the image for -1."""
        return self.options.shape if index == IMAGE else self.nodes[index].shape

    def input_shapes(self, node: Node) -> tuple[Shape, ...]:
        """Return the shapes of a node's inputs."""
        return tuple(self.shape(index) for index in node.inputs)

    def computed_layers(self) -> list[Layer]:
        """Return the layers as Darknet computes them, see `Layer.when_referenced`.

        A layer counts as referenced if another layer refers to it by index, or has a reference and
        reads it as the layer above. Of the references of a `[shortcut]` only the first counts.
        """
        referenced = {
            index
            for node in self
            if "data" in node.layer.refs.values()
            for index in (node.inputs[:2] if node.layer.takes_previous else node.inputs)
        }
        pairs = ((node.index, node.layer) for node in self)
        return [layer.when_referenced() if i in referenced else layer for i, layer in pairs]

    def add(
        self,
        layer: Layer,
        *inputs: Node | int,
        name: str = "",
        span: Span | None = None,
        **refs: Node | int,
    ) -> Node:
        """Append a layer and return its node.

        inputs: nodes or absolute indices, by default the last node. If the layer always reads the
        node above it, and its first input is another node, a `[route]` to that node is added first.
        refs: side references by key, such as share_index.
        Raises `CfgError` for a reference to a layer that does not exist, and if the shapes of the
        inputs do not match the layer.
        """
        above = len(self.nodes) - 1
        indices = [_index(item) for item in inputs] or [above]
        side = tuple((key, _index(item)) for key, item in refs.items())
        try:
            for index in (*indices, *dict(side).values()):
                if not IMAGE <= index <= above:
                    message = f"refers to layer {index}, above it are layers 0 to {above}"
                    raise LayerError(message, "correct the index", "dangling-reference")
            if layer.takes_previous and indices[0] != above:
                self.add(Route(), indices[0], name=name, span=span)
                above = indices[0] = above + 1
            shape = self._infer(layer, indices, [self.nodes[index] for _, index in side])
        except LayerError as error:
            hint = error.hint.replace("the layer above", self._place(indices[0]))
            kind, rule = layer.kind, error.rule
            raise CfgError(str(error), span=span, section=kind, hint=hint, rule=rule) from None
        node = Node(above + 1, layer, tuple(indices), side, shape, name, span)
        self.nodes.append(node)
        return node

    def add_placeholder(self, index: int, span: Span, shape_offset: int) -> None:
        """Put a placeholder at an index, in place of the last node if that has the index.

        It has the shape of the last node, with `shape_offset` added to each side.
        """
        inputs: tuple[int, ...] = (index - 1,)
        shape = self.shape(index - 1)
        if index < len(self):
            node = self.nodes.pop()
            inputs, shape = node.inputs, node.shape
        shape = Shape(*(side + shape_offset for side in shape))
        self.nodes.append(Node(index, Placeholder(), inputs, (), shape, span=span))

    def _infer(self, layer: Layer, indices: list[int], side: list[Node]) -> Shape:
        """Return the shape of a new layer's output. Raises `LayerError`."""
        if IMAGE in indices and (self.nodes or not layer.takes_previous):
            hint = "only the first layer reads the image"
            raise LayerError("cannot refer to the image", hint, "dangling-reference")
        inputs = [self.shape(index) for index in indices]
        shape = layer.shape(*inputs)
        _check_magnitude(layer, shape, inputs)
        for node in side:
            layer.check_reference(tuple(inputs), node.layer, self.input_shapes(node))
        return shape

    def _place(self, index: int) -> str:
        """Return "the layer above" for a message, with the line of the node if it has one."""
        span = self.nodes[index].span if 0 <= index < len(self) else None
        return f"the layer above (line {span.line})" if span else "the layer above"


def loads(text: str, *, path: str = "<cfg>", findings: Findings | None = None) -> Network:
    """Read a network from the text of a cfg. path: the name of the file in messages.

    Raises `CfgError` for a mistake. If `findings` has a callback, a section with a mistake becomes
    a `Placeholder` instead.

    >>> text = "[net]\\nwidth=32\\nheight=32\\nchannels=3\\n[maxpool]\\nstride=2\\nsize=2"
    >>> print(ghostyolo.loads(text)[0].shape)
    3x16x16
    """
    findings = findings or Findings()
    kinds = layers.KINDS  # all kinds, so that a key of any of them is known
    sections = syntax.parse(text, path, findings)
    if not sections or sections[0].name not in NetOptions.names:
        place = sections[0].place if sections else Place(Span(path), "")
        if not findings.errors:
            findings.error(place, "the first section is not [net]", "add [net]", rule="no-net")
        if not sections or place.section in kinds:
            sections.insert(0, Section("net", (), place.span))
    sized = not any(section.name in _RECURRENT for section in sections)
    network = Network(read_net(sections[0], findings, sized), comment=sections[0].comment)
    for index, section in enumerate(sections[1:]):
        errors = findings.errors
        try:
            _add_section(network, section, kinds, findings)
        except CfgError as error:
            findings.collect(error)
        if findings.errors > errors:
            network.add_placeholder(index, section.span, findings.shape_offset)
    return network


def dumps(network: Network) -> str:
    """Return the text of a network's cfg: `loads(dumps(n)) == n`. References are relative.

    >>> network = ghostyolo.load("ghostnet-1.0-coco")
    >>> ghostyolo.loads(ghostyolo.dumps(network)) == network
    True
    """
    parts = [_section_text("net", network.comment, network.options.items())]
    for node in network:
        note = f"{node.name} -> {node.shape}" if node.name else ""
        items = [*_references(node), *node.layer.items()]
        parts.append(_section_text(node.layer.kind, note, items))
    return "\n".join(parts)


def _index(item: Node | int) -> int:
    return item.index if isinstance(item, Node) else item


def _check_magnitude(layer: Layer, shape: Shape, inputs: list[Shape]) -> None:
    """Raise `LayerError` for a layer too large to compute, before memory is allocated for it."""
    floats = max((prod(size) for _, size in layer.weights(*inputs)), default=0)
    for what, value, most in (("values", shape.size, MAX_VALUES), ("weights", floats, MAX_WEIGHTS)):
        if value > most:
            hint = "correct its numbers or those of the layers above"
            raise LayerError(f"gives {value:,} {what}, more than {most:,}", hint, "magnitude")


def _add_section(
    network: Network, section: Section, kinds: dict[str, type[Layer]], findings: Findings
) -> None:
    kind = kinds.get(section.name)
    if kind is None:
        raise _unknown_section(section, kinds)
    layer = kind.parse(section, findings)
    data, side = _read_references(kind, section, len(network), findings)
    if kind.refs and "data" in kind.refs.values() and not data:
        name = next(name for name, role in kind.refs.items() if role == "data")
        hint = f"add {name}=INDEX, relative to this layer when negative"
        raise section.error(f"{name}= is missing", hint, rule="missing-reference")
    inputs = [len(network) - 1, *data] if kind.takes_previous else data
    node = network.add(layer, *inputs, name=section.comment, span=section.span, **side)
    for warning in layer.warnings(*network.input_shapes(node)):
        findings.warn(section.place, str(warning), warning.hint, warning.rule)


def _unknown_section(section: Section, kinds: dict[str, type[Layer]]) -> CfgError:
    rule, edits = "unknown-section", tuple[Edit, ...]()
    if section.name in _RECURRENT:
        rule = "recurrent-section"
        message, hint = "recurrent layers are not supported", "use a feed-forward network"
    elif section.name in NetOptions.names:
        message, hint = "may only be the first section", "delete this section"
    else:
        meant, near = slip(section.name, kinds), nearest(section.name, kinds)
        message = "unknown section"
        hint = f"did you mean [{near}]?" if near else f"use one of {', '.join(sorted(kinds))}"
        hint = FOREIGN_SECTIONS.get(section.name.lower(), hint)
        edits = (Edit(section.span.line, f"[{meant}]"),) if meant else ()
    return section.error(message, hint, rule=rule, edits=edits)


def _read_references(
    kind: type[Layer], section: Section, here: int, findings: Findings
) -> tuple[list[int], dict[str, int]]:
    """Return the data references and the side references of a section, as absolute indices."""
    data: list[int] = []
    side: dict[str, int] = {}
    for option in used_options(section, Findings.ignored()):
        if role := kind.refs.get(option.key):
            parts = (option.value or "").split(",")
            indices = [_absolute(part, option, section, here, findings) for part in parts]
            if role == "data":
                data.extend(indices)
            else:
                side[option.key] = indices[0]
    return data, side


def _absolute(part: str, option: Option, section: Section, here: int, findings: Findings) -> int:
    """Return the absolute index of a reference; a negative one is relative to layer `here`."""
    number, mark, note = part.partition("#")
    match = re.match(r"[+-]?[0-9]{1,9}", number)
    value = int(match[0]) if match else 0
    list_goes_on = "," in (option.value or "").partition("#")[2]  # a comment ends no list
    if not match or match[0] != number or (mark and list_goes_on):
        message = f"{option.key}={option.value}: '{part}' is not a layer's index"
        hint, darknet = "write whole numbers, separated by commas", f"reads {value}"
        findings.quirk(option.place, message, hint, darknet, rule="not-an-index")
    elif mark:
        trailing_comment(option, f"#{note}", findings)
    absolute = value if value >= 0 else here + value
    if not 0 <= absolute < here:
        message = f"{option.key}={option.value}: layer {absolute} is not above this one"
        hint = f"this is layer {here}, use 0 to {here - 1} or -1 to -{here}"
        if not here:
            hint = "no layer is above this one; begin with a [convolutional]"
        rule = "dangling-reference" if absolute < 0 else "forward-reference"
        raise section.error(message, hint, rule=rule, span=option.span)
    return absolute


def _references(node: Node) -> Iterator[tuple[str, str]]:
    relative = [index - node.index for index in node.inputs]
    for key_, role in node.layer.refs.items():
        if role == "data":
            listed = relative[1:] if node.layer.takes_previous else relative
            yield key_, ",".join(map(str, listed))
    for key_, index in node.refs:
        yield key_, str(index - node.index)


def _section_text(kind: str, comment: str, items: Iterable[tuple[str, str]]) -> str:
    notes = [f"# {line}" if line else "#" for line in comment.splitlines()]
    options = (f"{name}={value}" for name, value in items)
    return "\n".join((*notes, f"[{kind}]", *options)) + "\n"
