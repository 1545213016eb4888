"""The rate of every policy against Darknet's own numbers."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from ghostyolo.training.schedule import learning_rate
from support import goldens, published

# Darknet's C code with lr=1, burn_in=3, max_batches=12: iterations 1 to 12.
BURN_IN = ".01234568 .19753088"
VECTORS = {
    "policy=steps steps=6,8 scales=.1,.1": "1 1 1 .1 .1 .01 .01 .01 .01 .01",
    "policy=poly power=4": (
        ".316406 .197531 .115789 .0625 .0301408 .0123457 .00390625 .000771605 .0000482253 0"
    ),
    "policy=sgdr sgdr_cycle=4 sgdr_mult=2": (
        ".146455 .00001 .961940 .853555 .691345 .500005 .308665 .146455 .0380699 .00001"
    ),
    "policy=sigmoid gamma=.5 step=5": (
        ".731059 .622459 .5 .377541 .268941 .182426 .119203 .0758582 .0474259 .0293122"
    ),
    "policy=exp gamma=.9": (
        ".729 .6561 .59049 .531441 .478297 .430467 .387420 .348678 .313811 .282430"
    ),
    "policy=step step=3 scale=.5": ".5 .5 .5 .25 .25 .25 .125 .125 .125 .0625",
    "policy=sig": "1 1 1 1 1 1 1 1 1 1",
}
DEFAULTS = {
    "learning_rate": 0.001,
    "burn_in": 0,
    "power": 4.0,
    "policy": "constant",
    "step": 1,
    "scale": 1.0,
    "gamma": 1.0,
    "steps": (),
    "scales": (),
    "max_batches": 0,
    "learning_rate_min": 1e-5,
    "sgdr_mult": 2,
}
KEYS = {"sgdr_cycle", *DEFAULTS}


def options(text: str) -> SimpleNamespace:
    """Read `key=value key=value` with Darknet's defaults."""
    text = text.replace(" =", "=").replace("= ", "=").replace(", ", ",")
    values = dict(DEFAULTS)
    for key, value in (pair.split("=") for pair in text.split()):
        if key in ("steps", "scales"):
            values[key] = tuple(float(item) for item in value.split(","))
        elif key in KEYS:
            values[key] = type(DEFAULTS.get(key, 0))(value)
    values.setdefault("sgdr_cycle", values["max_batches"])
    return SimpleNamespace(**values)


@pytest.mark.parametrize("text", VECTORS)
def test_policy_equals_darknets(text: str) -> None:
    net = options(f"learning_rate=1 burn_in=3 max_batches=12 {text}")
    got = [learning_rate(net, iteration) for iteration in range(1, 13)]
    expected = [float(rate) for rate in f"{BURN_IN} {VECTORS[text]}".split()]
    assert got == pytest.approx(expected, rel=4e-6, abs=1e-9)


def test_policies_are_darknets_at_thirty_iterations() -> None:
    golden = goldens.read(goldens.FOLDER / "lr/lr_policies.json")
    for case in golden["policies"].values():
        net = options(case["net_options"])
        got = [learning_rate(net, iteration) for iteration in golden["batch_num"]]
        assert got == pytest.approx(case["rate"], rel=2e-5, abs=1e-12), case["net_options"]


def test_published_cfgs_have_darknets_rates() -> None:
    golden = goldens.read(published.CFGS.get("oracle/lr/zoo_net_sections_lr.json"))["cfgs"]
    texts = {path.stem: path for path in published.CFGS.all("cfg/*.cfg") if path.stem in golden}
    assert len(texts) > 20
    for name, path in texts.items():
        net = options(net_section(path.read_text()))
        case = golden[name]
        got = [learning_rate(net, iteration) for iteration in case["batch_num"]]
        assert got == pytest.approx(case["rate"], rel=1e-3, abs=1e-12), name


def net_section(text: str) -> str:
    """Return the lines of `[net]` joined by blanks; of equal keys the first."""
    body = text.split("[net]")[1].split("[")[0].replace(" ", "").splitlines()
    first = dict(reversed([line.split("=") for line in body if "=" in line and line[0] != "#"]))
    return " ".join(f"{key}={value}" for key, value in first.items())


def test_random_draws_from_the_generator() -> None:
    net = options("learning_rate=2 policy=random power=3 burn_in=4")
    assert learning_rate(net, 2) == 2 * 0.5**3
    expected = 2 * np.random.default_rng(5).random() ** 3
    assert learning_rate(net, 4, np.random.default_rng(5)) == expected
    with pytest.raises(ValueError, match="rng"):
        learning_rate(net, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("policy=step step=0", "step=0"),
        ("policy=steps steps=1,2 scales=.1", "2 steps and 1 scales"),
        ("policy=steps", "0 steps"),
        ("policy=poly", "max_batches=0"),
        ("policy=sgdr", "empty cycle"),
        ("policy=sgdr max_batches=9 sgdr_mult=0", "empty cycle"),
    ],
)
def test_missing_keys_are_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        learning_rate(options(text), 20)


def test_sigmoid_does_not_overflow() -> None:
    assert learning_rate(options("policy=sigmoid gamma=9 step=0"), 100_000) < 1e-300
