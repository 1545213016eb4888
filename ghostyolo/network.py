"""Nodes, shapes and references: the one representation of a network, and its spelling as a cfg."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ghostyolo import syntax
from ghostyolo.errors import CfgError, Findings, Span
from ghostyolo.layers import KINDS, Layer, Misfit, Shape
from ghostyolo.layers.options import Options, distinct, key, nearest
from ghostyolo.syntax import Option, Section

IMAGE = -1  # the index of the network's input
MAX_SIDE = 1 << 14  # pixels
_RECURRENT = ("rnn", "gru", "lstm", "crnn", "conv_lstm", "history")
_POLICIES = ("constant", "step", "steps", "exp", "poly", "sigmoid", "sgdr", "random")


@dataclass(frozen=True, kw_only=True)
class NetOptions(Options):
    """The `[net]` section: the input, and how to train.

    Source: AlexeyAB/darknet src/parser.c parse_net_options.
    """

    names = ("net", "network")

    batch: int = key(1, always=True)
    subdivisions: int = key(1, always=True)
    width: int = key(0, always=True)
    height: int = key(0, always=True)
    channels: int = key(0, always=True)
    inputs: int = key(derive=lambda net: net.width * net.height * net.channels)
    momentum: float = key(0.9, always=True)
    decay: float = key(0.0001, always=True)
    flip: int = key(1)
    angle: float = key(0.0)
    aspect: float = key(1.0)
    saturation: float = key(1.0)
    exposure: float = key(1.0)
    hue: float = key(0.0)
    learning_rate: float = key(0.001, always=True)
    burn_in: int = key(0)
    max_batches: int = key(0)
    policy: str = key("constant", always=True)
    steps: tuple[int, ...] = key(())
    scales: tuple[float, ...] = key(())
    seq_scales: tuple[float, ...] = key(())
    step: int = key(1)
    scale: float = key(1.0)
    gamma: float = key(1.0)
    power: float = key(4.0)
    learning_rate_min: float = key(0.00001)
    sgdr_cycle: int = key(derive=lambda net: net.max_batches)
    sgdr_mult: int = key(2)
    adam: int = key(0)
    B1: float = key(0.9)
    B2: float = key(0.999)
    eps: float = key(0.000001)
    time_steps: int = key(1)
    sequential_subdivisions: int = key(derive=lambda net: net.subdivisions)
    track: int = key(0)
    augment_speed: int = key(2)
    try_fix_nan: int = key(0)
    loss_scale: float = key(1.0)
    ema_alpha: float = key(0.0)
    dynamic_minibatch: int = key(0)
    optimized_memory: int = key(0)
    workspace_size_limit_MB: float = key(1024.0)
    use_cuda_graph: int = key(0)
    weights_reject_freq: int = key(0)
    equidistant_point: int = key(0)
    badlabels_rejection_percentage: float = key(0.0)
    num_sigmas_reject_badlabels: float = key(0.0)
    max_chart_loss: float = key(20.0)
    show_receptive_field: int = key(0)
    letter_box: int = key(0)
    mixup: int = key(0)
    mosaic: int = key(0)
    cutmix: int = key(0)
    mosaic_bound: int = key(0)
    blur: int = key(0)
    gaussian_noise: int = key(0)
    resize_step: int = key(32)
    label_smooth_eps: float = key(0.0)
    max_crop: int = key(derive=lambda net: net.width * 2)
    min_crop: int = key(derive=lambda net: net.width)
    contrastive: int = key(0)
    contrastive_jit_flip: int = key(0)
    contrastive_color: int = key(0)
    unsupervised: int = key(0)
    attention: int = key(0)
    adversarial_lr: float = key(0.0)

    @property
    def shape(self) -> Shape:
        """Return the input's shape."""
        return Shape(self.channels, self.height, self.width)

    @property
    def size(self) -> tuple[int, int]:
        """Return the input's height and width in pixels."""
        return self.height, self.width

    @property
    def mini_batch(self) -> int:
        """Return the images of one forward pass, rounded down as in Darknet."""
        return max(1, self.batch // self.subdivisions)


@dataclass(frozen=True)
class Node:
    """A layer at its place. Indices are absolute and count from 0; -1 is the image."""

    index: int
    layer: Layer
    inputs: tuple[int, ...]
    refs: tuple[tuple[str, int], ...]  # side references by key
    shape: Shape
    name: str = field(default="", compare=False)
    span: Span | None = field(default=None, compare=False)


@dataclass
class Network:
    """A list of nodes in the order of the file; `add` is the only way in."""

    options: NetOptions
    nodes: list[Node] = field(default_factory=list)
    comment: str = field(default="", compare=False)

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
        """Return the shapes that a node reads."""
        return tuple(self.shape(index) for index in node.inputs)

    def add(
        self,
        layer: Layer,
        *inputs: Node | int,
        name: str = "",
        span: Span | None = None,
        **refs: Node | int,
    ) -> Node:
        """Append a layer and return its node.

        inputs: nodes or absolute indices; none means the node just above. Where a kind reads the
        node just above and its first input is another one, a `[route]` to that is put in between.
        refs: side references by key, such as share_index.
        Raises `CfgError` when a reference dangles or the shapes do not fit.
        """
        above = len(self.nodes) - 1
        indices = [_index(item) for item in inputs] or [above]
        for index in (*indices, *map(_index, refs.values())):
            if not IMAGE <= index <= above:
                message = f"refers to layer {index}, above it are layers 0 to {above}"
                raise CfgError(message, span=span, section=layer.kind, hint="correct the index")
        if layer.takes_previous and indices[0] != above:
            self.add(KINDS["route"](), indices[0], name=name, span=span)
            above = indices[0] = above + 1
        if IMAGE in indices and (above >= 0 or not layer.takes_previous):
            hint = "only the first layer reads the image"
            raise CfgError("cannot refer to the image", span=span, section=layer.kind, hint=hint)
        side = tuple((name_, _index(item)) for name_, item in refs.items())
        shape = self._infer(layer, indices, span)
        node = Node(above + 1, layer, tuple(indices), side, shape, name, span)
        self.nodes.append(node)
        return node

    def _infer(self, layer: Layer, indices: list[int], span: Span | None) -> Shape:
        try:
            return layer.shape(*(self.shape(index) for index in indices))
        except Misfit as misfit:
            above = self.nodes[indices[0]].span if indices[0] != IMAGE else None
            line = f"the layer above (line {above.line})" if above else "the layer above"
            hint = misfit.hint.replace("the layer above", line)
            raise CfgError(str(misfit), span=span, section=layer.kind, hint=hint) from None


def load(path: str | Path, *, findings: Findings | None = None) -> Network:
    """Read a cfg file. Raises `CfgError`, with file and line, for what is wrong in it."""
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        hint = "give the path of a cfg file"
        raise CfgError(
            f"cannot read it: {error.strerror}", span=Span(str(path)), hint=hint
        ) from None
    return loads(text, path=str(path), findings=findings)


def loads(text: str, *, path: str = "<cfg>", findings: Findings | None = None) -> Network:
    """Read a cfg from its text; path names it in messages. Raises `CfgError`."""
    findings = findings or Findings()
    sections = syntax.parse(text, path, findings)
    if not sections or sections[0].name not in NetOptions.names:
        name = sections[0].name if sections else ""
        span = sections[0].span if sections else Span(path)
        raise CfgError("the first section is not [net]", span=span, section=name, hint="add [net]")
    options = NetOptions.parse(sections[0], findings)
    _check_net(options, sections[0], findings)
    network = Network(options, comment=sections[0].comment)
    for section in sections[1:]:
        _add_section(network, section, findings)
    return network


def dumps(network: Network) -> str:
    """Write a network as a cfg: `loads(dumps(n)) == n`. References are relative."""
    parts = [_section_text("net", network.comment, network.options.items())]
    for node in network:
        note = f"{node.name} -> {node.shape}" if node.name else ""
        items = [*_references(node), *node.layer.items()]
        parts.append(_section_text(node.layer.kind, note, items))
    return "\n".join(parts)


def _index(item: Node | int) -> int:
    return item.index if isinstance(item, Node) else item


def _check_net(options: NetOptions, section: Section, findings: Findings) -> None:
    span, name = section.span, section.name
    for key_, value in (("width", options.width), ("height", options.height)):
        if not 0 < value <= MAX_SIDE:
            hint = f"set {key_}, in pixels, to 1..{MAX_SIDE}"
            raise CfgError(f"{key_}={value}", span=span, section=name, hint=hint)
    if options.channels < 1:
        hint = "set channels=3 for colour pictures"
        raise CfgError(f"channels={options.channels}", span=span, section=name, hint=hint)
    if options.policy not in _POLICIES:
        near = nearest(options.policy, _POLICIES)
        hint = f"did you mean '{near}'?" if near else f"use one of {', '.join(_POLICIES)}"
        findings.oddity(
            span, name, f"unknown policy '{options.policy}'", hint, "keeps the rate constant"
        )
    if options.subdivisions < 1 or options.batch < 1:
        message = f"batch={options.batch} subdivisions={options.subdivisions}"
        raise CfgError(message, span=span, section=name, hint="set both to 1 or more")
    if options.batch % options.subdivisions:
        used = options.mini_batch * options.subdivisions
        message = f"batch={options.batch} is not a multiple of subdivisions={options.subdivisions}"
        findings.warn(span, name, message, f"Darknet trains with {used} images a step")


def _add_section(network: Network, section: Section, findings: Findings) -> None:
    kind = KINDS.get(section.name)
    if kind is None:
        raise _unknown_section(section)
    layer = kind.parse(section, findings)
    data, side = _read_references(kind, section, len(network), findings)
    if kind.refs and "data" in kind.refs.values() and not data:
        name = next(name for name, role in kind.refs.items() if role == "data")
        hint = f"add {name}=INDEX, relative to this layer when negative"
        raise CfgError(f"{name}= is missing", span=section.span, section=section.name, hint=hint)
    inputs = [len(network) - 1, *data] if kind.takes_previous else data
    network.add(layer, *inputs, name=section.comment, span=section.span, **side)


def _unknown_section(section: Section) -> CfgError:
    if section.name in _RECURRENT:
        message, hint = "recurrent layers are not supported", "use a feed-forward network"
    elif section.name in NetOptions.names:
        message, hint = "stands first, and once", "delete this section"
    else:
        near = nearest(section.name, KINDS)
        message = "unknown section"
        hint = f"did you mean [{near}]?" if near else f"use one of {', '.join(sorted(KINDS))}"
    return CfgError(message, span=section.span, section=section.name, hint=hint)


def _read_references(
    kind: type[Layer], section: Section, here: int, findings: Findings
) -> tuple[list[int], dict[str, int]]:
    """Return the data references and the side references of a section, as absolute indices."""
    data: list[int] = []
    side: dict[str, int] = {}
    for option in distinct(section, Findings(lambda _: None)):
        if role := kind.refs.get(option.key):
            parts = (option.value or "").split(",")
            indices = [_absolute(part, option, section, here, findings) for part in parts]
            if role == "data":
                data.extend(indices)
            else:
                side[option.key] = indices[0]
    return data, side


def _absolute(part: str, option: Option, section: Section, here: int, findings: Findings) -> int:
    """Return the index of the layer that one reference names; negative ones count from here."""
    number, mark, note = part.partition("#")
    try:
        value = int(number)
    except ValueError:
        message = f"{option.key}={option.value}: '{part}' is not a layer's index"
        hint = "write whole numbers, separated by commas"
        raise CfgError(message, span=option.span, section=section.name, hint=hint) from None
    if mark:
        message, hint = f"'#{note}' behind '{option.key}' is not read", "move it to its own line"
        findings.warn(option.span, section.name, message, hint)
    absolute = value if value >= 0 else here + value
    if not 0 <= absolute < here:
        message = f"{option.key}={option.value}: layer {absolute} does not stand above"
        hint = f"this is layer {here}, use 0 to {here - 1} or -1 to -{here}"
        if not here:
            hint = "no layer stands above this one; begin with a [convolutional]"
        raise CfgError(message, span=option.span, section=section.name, hint=hint)
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
    lines = [f"# {line}" if line else "#" for line in comment.splitlines()]
    lines.append(f"[{kind}]")
    lines.extend(f"{name}={value}" for name, value in items)
    return "\n".join(lines) + "\n"
