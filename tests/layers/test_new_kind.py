"""A kind that was written a minute ago: what it does not say of itself is refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ghostyolo import cli, lint
from ghostyolo.errors import CfgError
from ghostyolo.ghostify.channel_order import ChannelOrders
from ghostyolo.layers import Head, base
from ghostyolo.layers.base import Importer, Layer, Shape
from ghostyolo.model.folded import folded
from ghostyolo.model.model import Model
from ghostyolo.network import dumps, info, loads, passes
from ghostyolo.ops.activations import Unfolded
from ghostyolo.syntax.options import key, options
from ghostyolo.training.unsupported import check_classifier, check_detector

HERE = r"x\.cfg:10: \[unheard\] "
TEXT = """[net]
width=8
height=8
channels=3
max_batches=4
[convolutional]
filters=4
activation=linear

[unheard]
gain=2
[convolutional]
filters=4
activation=linear
[avgpool]
[softmax]
"""


class Gate(nn.Module):
    """What the kind computes; it has no folded form."""

    def __init__(self, gain: float) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.silu(x) * x * self.gain


@pytest.fixture
def kind() -> Iterator[type[Layer]]:
    """A kind that says what it must to be read, and nothing else."""

    @options
    class Unheard(Layer):
        names = ("unheard",)

        gain: float = key(1.0, always=True)
        activation: str = key("linear", choices=base.ACTIVATIONS)

        def module(self, *inputs: Shape) -> Any:
            return Gate(self.gain)

    yield Unheard
    del base.KINDS["unheard"]


@pytest.fixture
def known(kind: Any) -> type[Layer]:
    """The same kind when it says what there is to say."""

    class Known(Gate, Unfolded):
        pass

    kind.trained = kind.hank_ai = kind.resizable = True
    kind.operations, kind.order, kind.opencv = "elementwise", "kept", Importer()
    kind.keys()["gain"].metadata = {**kind.keys()["gain"].metadata, "training": "any"}
    kind.module = lambda self, *inputs: Known(self.gain)
    return kind  # type: ignore[no-any-return]


def read(text: str = TEXT) -> Any:
    return loads(text, path="x.cfg")


def rules(text: str = TEXT) -> set[str]:
    return {finding.rule for finding in lint.check(text) if "[unheard]" in str(finding)}


def test_it_is_read_written_and_computed(kind: type[Layer]) -> None:
    network = read()
    assert loads(dumps(network)) == network
    assert Model(network)(torch.rand(1, 3, 8, 8))[0].shape == (1, 4, 1, 1)


def test_two_kinds_of_one_name_are_refused(kind: type[Layer]) -> None:
    with pytest.raises(TypeError, match=r"\[unheard\] is Unheard already, so not Other"):

        class Other(Layer):
            names = ("unheard",)

    assert base.KINDS["unheard"] is kind


def test_its_cost_is_refused(
    kind: type[Layer], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(
        CfgError, match=HERE + "its class does not define the number of multiply-adds"
    ):
        info.rows(read())
    path = tmp_path / "x.cfg"
    path.write_text(TEXT)
    assert cli.main(["info", str(path)]) == 1
    assert "[unheard] its class does not define" in capsys.readouterr().err


def test_its_training_is_refused(kind: Any) -> None:
    with pytest.raises(CfgError, match=HERE + "is computed in inference only"):
        check_classifier(read())
    kind.trained = True
    with pytest.raises(CfgError, match=HERE + r"gain=2\.0 cannot be honoured in training"):
        check_classifier(read())
    check_classifier(read(TEXT.replace("gain=2", "gain=1")))


def test_its_file_is_refused(kind: type[Layer]) -> None:
    with pytest.raises(CfgError, match=HERE + "its module Gate has no folded form"):
        folded(Model(read()))


def test_tensors_that_no_file_would_hold_are_refused(kind: Any) -> None:
    kind.module = lambda self, *inputs: nn.PReLU()
    with pytest.raises(CfgError, match=HERE + "its module and its `weights` differ in weight"):
        Model(read())


def test_weights_that_no_tensor_takes_are_refused(kind: Any) -> None:
    kind.weights = lambda self, *inputs: [("factor", (1,))]
    with pytest.raises(CfgError, match=HERE + "its module and its `weights` differ in factor"):
        Model(read())


def test_a_kind_without_a_module_is_refused(kind: Any) -> None:
    del kind.module
    with pytest.raises(CfgError, match=HERE + "has no module"):
        Model(read())


def test_other_readers_do_not_know_it(kind: type[Layer]) -> None:
    assert {"opencv-section", "hank-section"} <= rules()
    assert "zero-activation" in rules(TEXT.replace("gain=2", "activation=mish"))
    head = "[convolutional]\nfilters=18\nactivation=linear\n[yolo]\nnum=3\nclasses=1\nrandom=1\n"
    found = [str(item) for item in lint.check(TEXT[: TEXT.index("[avgpool]")] + head)]
    assert any("1 x [unheard] cannot change its size" in text for text in found)


def test_its_channels_keep_their_numbers(kind: type[Layer]) -> None:
    """Ghostify may permute the channels of neither its input nor its output."""
    orders = ChannelOrders(read())
    assert all(orders.is_fixed(number) for index in (0, 1) for number, _ in orders.parts(index))


def test_an_order_that_its_channels_refute_is_refused(kind: Any) -> None:
    kind.order = "kept"
    kind.shape = lambda self, *inputs: inputs[0]._replace(c=2)
    with pytest.raises(CfgError, match=HERE + "its class gives order='kept', which its number of"):
        ChannelOrders(read())


def test_it_passes_where_it_says_everything(known: type[Layer], tmp_path: Path) -> None:
    network = read()
    assert info.totals(info.rows(network)).macs == 64 * 12 + 64 * 16
    assert not rules()
    check_classifier(network)
    orders = ChannelOrders(network)
    assert orders.parts(0) == orders.parts(1) and not orders.is_fixed(orders.parts(0)[0][0])
    model = Model(network).eval()
    x = torch.rand(1, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(folded(model)(x), model(x))
    model.save_weights(tmp_path / "x.weights")
    Model(network).load_weights(tmp_path / "x.weights")


def test_a_head_that_no_loss_knows_is_not_trained() -> None:
    @options
    class Centers(Head):
        names = ("centers",)
        trained = True

    try:
        text = TEXT.replace("[unheard]\ngain=2\n", "").replace("[avgpool]\n[softmax]", "[centers]")
        with pytest.raises(
            CfgError, match=r"x\.cfg:13: \[centers\] there is no loss for this head"
        ):
            check_detector(read(text))
        with pytest.raises(CfgError, match=r"\[centers\] cannot change its classes"):
            passes.reclass(read(text), 3)
    finally:
        del base.KINDS["centers"]
