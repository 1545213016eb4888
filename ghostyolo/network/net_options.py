"""The `[net]` section: the network's input, the learning rate schedule, and augmentation.

Source: AlexeyAB/darknet src/parser.c parse_net_options.
"""

from __future__ import annotations

from collections.abc import Iterable

from ghostyolo.errors import CfgError, Edit, Findings, OptionError, Place
from ghostyolo.layers import Shape
from ghostyolo.syntax.options import Options, key, options
from ghostyolo.syntax.sections import Section
from ghostyolo.syntax.suggestions import nearest

MAX_SIDE = 1 << 14  # pixels
POLICIES = ("constant", "step", "steps", "exp", "poly", "sigmoid", "sgdr", "random")
_INPUT = {"width": 416, "height": 416, "channels": 3}  # used in place of invalid values


@options
class NetOptions(Options):
    """The keys of `[net]`."""

    names = ("net", "network")

    batch: int = key(1, always=True, training="any")
    subdivisions: int = key(1, always=True, training="any")
    width: int = key(0, always=True, training="any")
    height: int = key(0, always=True, training="any")
    channels: int = key(0, always=True, training="any")
    inputs: int = key(derive=lambda net: net.width * net.height * net.channels, training="any")
    momentum: float = key(0.9, always=True, training="any")
    decay: float = key(0.0001, always=True, training="any")
    flip: int = key(1, training="any")
    angle: float = key(0.0, training="any")
    aspect: float = key(1.0, training="any")
    saturation: float = key(1.0, training="any")
    exposure: float = key(1.0, training="any")
    hue: float = key(0.0, training="any")
    learning_rate: float = key(0.001, always=True, training="any")
    burn_in: int = key(0, training="any")
    max_batches: int = key(0, training="any")
    policy: str = key("constant", always=True, training="any")
    steps: tuple[int, ...] = key((), training="any")
    scales: tuple[float, ...] = key((), training="any")
    seq_scales: tuple[float, ...] = key((), training="any")
    step: int = key(1, training="any")
    scale: float = key(1.0, training="any")
    gamma: float = key(1.0, training="any")
    power: float = key(4.0, training="any")
    learning_rate_min: float = key(0.00001, training="any")
    sgdr_cycle: int = key(derive=lambda net: net.max_batches, training="any")
    sgdr_mult: int = key(2, training="any")
    adam: int = key(0, training="any")
    B1: float = key(0.9, training="any")
    B2: float = key(0.999, training="any")
    eps: float = key(0.000001, training="any")
    time_steps: int = key(1)
    sequential_subdivisions: int = key(derive=lambda net: net.subdivisions, training="any")
    track: int = key(0)
    augment_speed: int = key(2, training="any")
    try_fix_nan: int = key(0, training="any")
    loss_scale: float = key(1.0, training="any")
    ema_alpha: float = key(0.0)
    dynamic_minibatch: int = key(0)
    optimized_memory: int = key(0, training="any")
    workspace_size_limit_MB: float = key(1024.0, training="any")
    use_cuda_graph: int = key(0, training="any")
    weights_reject_freq: int = key(0)
    equidistant_point: int = key(0)
    badlabels_rejection_percentage: float = key(0.0)
    num_sigmas_reject_badlabels: float = key(0.0)
    max_chart_loss: float = key(20.0, training="any")
    show_receptive_field: int = key(0, training="any")
    letter_box: int = key(0, training="detectors")
    mixup: int = key(0, training="any")
    mosaic: int = key(0, training="any")
    cutmix: int = key(0, training="any")
    mosaic_bound: int = key(0, training="any")
    blur: int = key(0, training="any")
    gaussian_noise: int = key(0, training="detectors")
    resize_step: int = key(32, training="any")
    label_smooth_eps: float = key(0.0, training="any")
    max_crop: int = key(derive=lambda net: net.width * 2, training="any")
    min_crop: int = key(derive=lambda net: net.width, training="any")
    contrastive: int = key(0)
    contrastive_jit_flip: int = key(0, training="any")
    contrastive_color: int = key(0, training="any")
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
        """Return the number of images in one forward pass, rounded down as in Darknet."""
        return max(1, self.batch // self.subdivisions)


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """Return height and width in pixels, read from "HxW", or from one number for a square.

    Raises `OptionError` for other texts, which names the option.
    """
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdecimal() for side in sides):
        hint = "write height x width, as 416x416, or one number for a square"
        raise OptionError(f"{option} {text}", hint=hint)
    return int(sides[0]), int(sides[-1])


def read_net(section: Section, findings: Findings, sized: bool = True) -> NetOptions:
    """Read `[net]`. An invalid input size is replaced by a valid one, and reported if `sized`.

    sized: False for recurrent networks, which may have none.
    """
    options = NetOptions.parse(section, findings)
    clean = not findings.errors
    try:
        _check_net(options, section, findings, _INPUT if sized else ())
    except CfgError as error:
        if clean:  # otherwise the error may follow from one that was reported
            findings.collect(error)
    values = {name: getattr(options, name) for name in _INPUT}
    bad = [name for name, value in values.items() if not 0 < value <= MAX_SIDE]
    return options.changed(**{name: _INPUT[name] + findings.shape_offset for name in bad})


def _check_net(
    options: NetOptions, section: Section, findings: Findings, sides: Iterable[str]
) -> None:
    at = {option.key: option.span for option in reversed(section.options)}
    for key_ in sides:
        value = getattr(options, key_)
        if not 0 < value <= MAX_SIDE:
            span, hint = at.get(key_, section.span), f"set {key_}, in pixels, to 1..{MAX_SIDE}"
            if key_ == "channels":
                hint = "set channels=3 for colour pictures"
            raise section.error(f"{key_}={value}", hint, rule="net-size", span=span)
    if options.policy not in POLICIES:
        near = nearest(options.policy, POLICIES)
        hint = f"did you mean '{near}'?" if near else f"use one of {', '.join(POLICIES)}"
        message, darknet = f"unknown policy '{options.policy}'", "keeps the learning rate constant"
        place = Place(at.get("policy", section.span), section.name)
        findings.quirk(place, message, hint, darknet, rule="unknown-policy")
    span = at.get("batch", section.span)
    if options.subdivisions < 1 or options.batch < 1:
        message = f"batch={options.batch} subdivisions={options.subdivisions}"
        raise section.error(message, "set both to 1 or more", rule="batch", span=span)
    if options.batch % options.subdivisions:
        used = options.batch // options.subdivisions * options.subdivisions
        message = f"batch={options.batch} is not a multiple of subdivisions={options.subdivisions}"
        hint = f"Darknet trains with {used} images in each iteration"
        edits = (Edit(span.line, f"batch={used}"),) if used and "batch" in at else ()
        findings.warn(Place(span, section.name), message, hint, rule="batch-multiple", edits=edits)
