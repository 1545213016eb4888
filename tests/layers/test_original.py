"""What only the original Darknet has: shortcuts of two sizes, and trees of classes.

The expected values follow the loops of its C sources. The networks of its repository that need them
were compared with the programs themselves: outputs of resnet18 to resnext152 and darknet9000 with
pjreddie/darknet, of yolo9000 and its boxes with AlexeyAB/darknet, equal within 4e-5.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ghostyolo.errors import CfgError, Diagnostic, Findings
from ghostyolo.layers.tree import absolute, read_tree
from ghostyolo.model.model import Model
from ghostyolo.network import loads
from ghostyolo.ops.combining import Shortcut

# root a: b, c; b: d, e, f; root g
TREE = "a -1\ng -1\nb 0\nc 0\nd 2\ne 2\nf 2\n"
NET = """[net]
width={w}
height=4
channels=3

[convolutional]
filters={n}
size=1
activation=linear

"""


def shortcut_cpu(add: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Add one map (c, h, w) to another as src/blas.c shortcut_cpu does."""
    (c1, h1, w1), (c2, h2, w2) = add.shape, out.shape
    stride, sample = max(1, w1 // w2), max(1, w2 // w1)
    out = out.copy()
    for k in range(min(c1, c2)):
        for j in range(min(h1, h2)):
            for i in range(min(w1, w2)):
                out[k, j * sample, i * sample] += add[k, j * stride, i * stride]
    return out


@pytest.mark.parametrize(
    ("add", "out"),
    [
        ((4, 8, 8), (6, 4, 4)),
        ((6, 9, 7), (4, 4, 3)),
        ((4, 3, 4), (6, 7, 9)),
        ((2, 3, 3), (2, 2, 2)),
    ],
)
def test_shortcut_of_two_sizes(add: tuple[int, ...], out: tuple[int, ...]) -> None:
    a, b = torch.rand(1, *add), torch.rand(1, *out)
    found = Shortcut("linear", None, "")(b, a)[0].numpy()
    np.testing.assert_array_equal(found, shortcut_cpu(a[0].numpy(), b[0].numpy()))


def test_shortcut_of_two_sizes_is_told_and_of_two_steps_refused() -> None:
    findings: list[Diagnostic] = []
    conv = "[convolutional]\nfilters=4\nsize=3\npad=1\nstride_x=2\nstride_y={}\nactivation=linear\n"
    text = NET.format(w=8, n=4) + conv + "[shortcut]\nfrom=-2\n"
    network = loads(text.format(2), findings=Findings(findings.append))
    assert Model(network)(torch.rand(1, 3, 4, 8))[0].shape == (1, 4, 2, 4)
    assert [item.rule for item in findings] == ["shortcut-size"]
    with pytest.raises(CfgError, match=r"input 1 is 4x4 \(HxW\), input 2 is 4x8"):
        loads(text.format(1))


@pytest.fixture
def tree(tmp_path: Path) -> str:
    (tmp_path / "x.tree").write_text(TREE)
    return str(tmp_path / "x.tree")


def test_tree_is_read_in_groups(tree: str) -> None:
    found = read_tree(tree)
    assert found.parents == (-1, -1, 0, 0, 2, 2, 2)
    assert found.groups == (2, 2, 3)
    assert found.inner() == [0, 2]


def test_classifier_with_a_tree(tree: str) -> None:
    """The product of the probabilities along the way from the root; inner classes count nothing."""
    model = Model(loads(f"{NET.format(w=1, n=7)}[avgpool]\n[softmax]\ntree={tree}\n"))
    x = torch.rand(2, 3, 4, 1)
    logits = model.trace(x)[1].flatten(1).numpy().astype(float)
    a, g, b, c, d, e, f = np.exp(logits).T
    parts = [
        a / (a + g),
        g / (a + g),
        b / (b + c),
        c / (b + c),
        *(v / (d + e + f) for v in (d, e, f)),
    ]
    conditional = np.stack(parts, 1)
    np.testing.assert_allclose(model(x)[0].flatten(1).detach().numpy(), conditional, rtol=1e-5)
    want = conditional * conditional[:, [0, 1, 0, 0, 2, 2, 2]] ** ([0, 0, 1, 1, 1, 1, 1])
    want[:, 4:] *= conditional[:, :1]
    np.testing.assert_allclose(absolute(conditional, read_tree(tree)), want)
    pictures = [np.full((8, 2, 3), value, np.uint8) for value in (7, 200)]
    leaves = model.classifier()(pictures)
    np.testing.assert_array_equal(leaves[:, [0, 2]], 0)
    np.testing.assert_allclose(leaves.sum(1), 1, rtol=1e-5)


def test_head_with_a_tree_takes_the_deepest_sure_class(tree: str) -> None:
    region = f"[region]\nanchors=1,1\nnum=1\nclasses=7\ncoords=4\ntree={tree}\n"
    head = loads(f"{NET.format(w=4, n=12)}{region}")[1].layer
    slots = np.zeros((1, 4, 4, 12), np.float32)
    slots[0, 1, 2, 4] = 0.6  # objectness
    slots[0, 1, 2, 5:] = [0.9, 0.1, 0.9, 0.1, 0.7, 0.2, 0.1]  # d: .9 * .9 * .7
    slots[0, 2, 2, 4] = 0.6
    slots[0, 2, 2, 5:] = [0.9, 0.1, 0.8, 0.2, 0.4, 0.4, 0.2]  # no word below b is sure
    _, boxes, objectness, classes = head.decode_above(slots.reshape(1, 12, 4, 4), (4, 4), 0.5)
    assert (len(boxes), objectness.tolist()) == (2, [1, 1])
    np.testing.assert_allclose(
        classes, [[0, 0, 0, 0, 0.567, 0, 0], [0, 0, 0.72, 0, 0, 0, 0]], rtol=1e-6
    )
    assert len(head.decode_above(slots.reshape(1, 12, 4, 4), (4, 4), 0.65)[1]) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file"),
        ("a -1\nb 4\n", "line 2 has no parent above it"),
        ("a -1\nb\n", "line 2 has no parent above it"),
        ("a -1\nb 0\n", "has 2 classes, the layer 7"),
    ],
)
def test_file_that_is_no_such_tree(text: str | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.tree"
    if text:
        path.write_text(text)
    network = loads(f"{NET.format(w=1, n=7)}[avgpool]\n[softmax]\ntree={path}\n")
    with pytest.raises(CfgError, match=message):
        Model(network)
