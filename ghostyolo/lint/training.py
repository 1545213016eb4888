"""Rules about `[net]`: the learning rate schedule, and keys that training does not read.

Source of what Darknet does: AlexeyAB/darknet src/parser.c parse_net_options, src/network.c
get_current_rate, src/data.c load_data_detection.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from ghostyolo.errors import Diagnostic
from ghostyolo.lint.parsed_cfg import ParsedCfg

# Augmentation keys of [net] that only classifiers use, with the value that has no effect.
_CLASSIFIER = {"angle": 0, "aspect": 1, "min_crop": None, "max_crop": None, "label_smooth_eps": 0}
# Keys that Darknet's CPU build ignores.
_GPU_NET = ("adam", "loss_scale", "adversarial_lr", "attention")
_GPU = (
    "sway", "rotate", "stretch", "stretch_sway", "grad_centr", "reverse", "coordconv", "binary",
    "cbn", "clip", "dont_update", "burnin_update", "train_only_bn", "dropblock",
)  # fmt: skip


def policy(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that the policy changes the learning rate."""
    net = cfg.network.options
    idle = {
        "step": (net.scale == 1, "scale=1", "set scale below 1"),
        "steps": (bool(net.scales) and set(net.scales) == {1.0}, "scales of 1", "set scales=.1,.1"),
        "exp": (net.gamma == 1, "gamma=1", "set gamma below 1"),
        "poly": (net.power == 0, "power=0", "set power=1 or more"),
        "sgdr": (net.learning_rate_min == net.learning_rate, "learning_rate_min", "set it lower"),
    }
    still, why, hint = idle.get(net.policy, (False, "", ""))
    if still:
        message = f"policy={net.policy} with {why} keeps the learning rate constant"
        yield cfg.warn("constant-policy", None, "policy", message, hint)
    if net.policy == "poly" and not cfg.option(None, "power"):
        message, hint = "policy=poly without power uses power=4", "write the power that is meant"
        yield cfg.warn("poly-power", None, "policy", message, hint)
    if net.policy in ("poly", "sgdr") and net.max_batches < 1:
        message = f"policy={net.policy} with max_batches={net.max_batches}"
        yield cfg.warn("no-max-batches", None, "policy", message, "set max_batches")


def steps(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that there is a scale for each step, and that the steps ascend and are reached."""
    net = cfg.network.options
    if net.policy != "steps":
        return
    count, factors = len(net.steps), len(net.scales)
    if not (count and factors):
        message = f"policy=steps with {count} steps and {factors} scales"
        yield cfg.warn("steps-missing", None, "policy", message, "give steps= and scales=")
    elif factors < count:
        message = f"{count} steps, {factors} scales"
        hint = "give one scale for each step; Darknet reads beyond the end of the list"
        yield cfg.warn("steps-scales", None, "scales", message, hint)
    elif factors > count:
        message, hint = f"{count} steps, {factors} scales", "delete the scales without a step"
        yield cfg.warn("steps-scales", None, "scales", message, hint)
    if any(first >= second for first, second in pairwise(net.steps)):
        message = f"steps={','.join(map(str, net.steps))} do not ascend"
        hint = "sort them: Darknet ignores all steps after the first that is not reached yet"
        yield cfg.warn("steps-order", None, "steps", message, hint)
    late = [step for step in net.steps if step >= net.max_batches > 0]
    if late:
        message = f"step {late[0]} of max_batches={net.max_batches} is never reached"
        hint = "put the steps at 80% and 90% of max_batches"
        yield cfg.warn("steps-beyond", None, "steps", message, hint)


def burn_in(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check that the burn-in ends before the learning rate falls."""
    net = cfg.network.options
    first = net.steps[0] if net.policy == "steps" and net.steps else 0
    for name, value in (("max_batches", net.max_batches), ("first step", first)):
        if 0 < value <= net.burn_in:
            message = f"burn_in={net.burn_in} is not below the {name}, {value}"
            yield cfg.warn("burn-in", None, "burn_in", message, "set burn_in to a few percent")
            return


def augmentation(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Check for augmentation keys that the training of a detector ignores or does not support."""
    net = cfg.network.options
    if not cfg.heads:
        return
    for key, idle in _CLASSIFIER.items():
        value = getattr(net, key)
        if cfg.option(None, key) and value != idle:
            message = f"{key}={value:g} has no effect on the training of a detector"
            hint = "Darknet reads it for classifiers; use jitter= of the last head, or delete it"
            yield cfg.warn("classifier-key", None, key, message, hint)
    if net.mosaic and net.letter_box:
        hint = "choose one of them; Darknet's training stops with both"
        yield cfg.warn("mosaic", None, "mosaic", "mosaic=1 with letter_box=1", hint)
    if net.cutmix:
        message, hint = "cutmix=1 in a detector", "use mosaic=1: Darknet does not cut boxes"
        yield cfg.warn("mosaic", None, "cutmix", message, hint)


def gpu(cfg: ParsedCfg) -> Iterator[Diagnostic]:
    """Note keys that Darknet's CPU build ignores."""
    for node in (None, *cfg.network):
        options = node.layer if node else cfg.network.options
        known = options.keys()
        for key in _GPU if node else _GPU_NET:
            if key in known and getattr(options, key) != known[key].default:
                message = f"{key}={getattr(options, key)} has an effect in Darknet's GPU build only"
                hint = "results on a CPU differ; delete it to get the same results on both"
                yield cfg.note("gpu-only", node, key, message, hint)


CHECKS = (policy, steps, burn_in, augmentation, gpu)
