"""The generator: the committed files, the paper's numbers, the official structure, every option."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from ghostyolo import cli, gencfg
from ghostyolo.errors import Findings
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.shortcut import Shortcut
from ghostyolo.layers.yolo import Yolo
from ghostyolo.model.model import Model
from ghostyolo.network import IMAGE, Network, Node, dumps, info, loads
from ghostyolo.network.net_options import NetOptions
from ghostyolo.zoo import networks
from ghostyolo.zoo.blocks import conv, squeeze_excite
from ghostyolo.zoo.ghostnet import GhostNet, bottleneck
from support import ROOT
from support.cases import GENERATED

# Table 1 of the paper, as the official code has it: kernel, expansion, output, squeezed, stride.
PAPER = (
    (3, 16, 16, 0, 1),
    (3, 48, 24, 0, 2),
    (3, 72, 24, 0, 1),
    (5, 72, 40, 20, 2),
    (5, 120, 40, 32, 1),
    (3, 240, 80, 0, 2),
    (3, 200, 80, 0, 1),
    (3, 184, 80, 0, 1),
    (3, 184, 80, 0, 1),
    (3, 480, 112, 120, 1),
    (3, 672, 112, 168, 1),
    (5, 672, 160, 168, 2),
    (5, 960, 160, 0, 1),
    (5, 960, 160, 240, 1),
    (5, 960, 160, 0, 1),
    (5, 960, 160, 240, 1),
)
# What the official code computes at other widths, by bottleneck: (exp, out, squeezed); the stem.
CHECKS = {
    "0.5": (8, {4: (36, 20, 12), 10: (240, 56, 60), 12: (336, 80, 84)}, 480),
    "0.75": (
        12,
        {4: (56, 32, 16), 7: (152, 60, 0), 8: (140, 60, 0), 11: (504, 84, 128)},
        720,
    ),
    "1.3": (
        20,
        {
            3: (92, 32, 0),
            4: (92, 52, 24),
            10: (624, 144, 156),
            11: (872, 144, 220),
            16: (1248, 208, 312),
        },
        1248,
    ),
}
Run = Callable[..., Network]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the generator and loads what it printed, strictly."""

    def generate(*words: str) -> Network:
        assert gencfg.main(list(words)) == 0
        text, complaints = capsys.readouterr()
        assert not complaints
        return loads(text, findings=Findings(strict=True))

    return generate


def rows(network: Network) -> dict[int, tuple[int, int, int]]:
    """Return (exp, out, squeezed) of each bottleneck, counted from 1, as its layers have them."""
    found: dict[str, dict[str, int]] = {}
    for node in network:
        name, _, part = node.name.partition(", ")
        number, _, part = part.partition(", ")
        if name.startswith("stage"):
            found.setdefault(f"{name}, {number}", {})[part] = node.shape.c
    return {
        place: (parts["ghost 1"], parts["sum"], parts.get("reduce", 0))
        for place, parts in enumerate(found.values(), start=1)
    }


# --- the committed files


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_committed_file_is_what_its_first_line_writes(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = path.read_text()
    command = text.partition("\n")[0].removeprefix("# Written by python -m ghostyolo.gencfg ")
    assert gencfg.main(shlex.split(command)) == 0
    assert capsys.readouterr().out == text


def test_family_is_complete() -> None:
    names = {
        f"ghostnet-{w}-{d}" for w in ("0.5", "1.0", "1.3") for d in ("coco", "voc", "imagenet")
    }
    assert {path.stem for path in GENERATED} == names


def test_command_in_the_file_quotes_its_words(tmp_path: Path) -> None:
    names, out = tmp_path / "my own.names", tmp_path / "x.cfg"
    names.write_text("cat\ndog\n")
    assert gencfg.main(["--names", str(names), "--out", str(out)]) == 0
    again = shlex.split(out.read_text().partition("\n")[0].partition("gencfg ")[2])
    assert again == ["--names", str(names)]
    before = out.read_text()
    assert gencfg.main([*again, f"--out={out}"]) == 0
    assert out.read_text() == before


# --- the paper's numbers


def by_hand(scale: Callable[[int], int], squeezed: dict[int, int]) -> tuple[int, int]:
    """Return weights and biases, and multiply-adds at 224x224, summed along the paper's table."""
    sums = [0, 0]

    def filters(inputs: int, outputs: int, kernel: int, groups: int, side: int) -> None:
        weights = inputs // groups * outputs * kernel * kernel
        sums[0] += weights + 2 * outputs  # batch norm's scale and shift, or the bias and nothing
        sums[1] += weights * side * side

    def biased(inputs: int, outputs: int) -> None:
        sums[0] += inputs * outputs + outputs
        sums[1] += inputs * outputs

    def ghost(inputs: int, outputs: int, side: int) -> None:
        filters(inputs, outputs // 2, 1, 1, side)
        filters(outputs // 2, outputs // 2, 3, outputs // 2, side)

    side, channels = 112, scale(16)
    filters(3, channels, 3, 1, side)
    for place, (kernel, exp, out, _, stride) in enumerate(PAPER, start=1):
        exp, out = scale(exp), scale(out)
        ghost(channels, exp, side)
        below = side // stride
        if stride > 1:
            filters(exp, exp, kernel, exp, below)
        if place in squeezed:
            biased(exp, squeezed[place])
            biased(squeezed[place], exp)
        ghost(exp, out, below)
        if stride > 1 or channels != out:
            filters(channels, channels, kernel, channels, below)
            filters(channels, out, 1, 1, below)
        side, channels = below, out
    filters(channels, scale(960), 1, 1, side)
    biased(scale(960), 1280)
    biased(1280, 1000)
    return sums[0], sums[1]


@pytest.mark.parametrize(
    ("width", "parameters", "macs"),
    [
        ("0.5", 2_587_292, 42_328_152),
        ("1.0", 5_182_508, 141_150_512),
        ("1.3", 7_358_820, 227_003_256),
    ],
)
def test_classifier_has_the_papers_size(width: str, parameters: int, macs: int, run: Run) -> None:
    network = run("--task", "classify", "--width", width)
    totals = info.totals(info.rows(network))
    assert (totals.parameters, totals.macs) == (parameters, macs)
    table = rows(network)
    squeezed = {place: row[2] for place, row in table.items() if row[2]}
    channels = {
        n: row[i]
        for row, rule in zip(table.values(), PAPER, strict=True)
        for i, n in enumerate(rule[1:3])
    }
    channels |= {16: network[0].shape.c, 960: network[-6].shape.c}
    assert by_hand(channels.__getitem__, squeezed) == (parameters, macs)


def test_table_at_width_one_is_the_papers(run: Run) -> None:
    want = {place: row[1:4] for place, row in enumerate(PAPER, start=1)}
    assert rows(run("--task", "backbone")) == want


@pytest.mark.parametrize("width", CHECKS)
def test_channels_at_other_widths_are_the_official_codes(width: str, run: Run) -> None:
    stem, bottlenecks, tail = CHECKS[width]
    network = run("--task", "classify", "--width", width)
    table = rows(network)
    assert network[0].shape.c == stem
    assert {place: table[place] for place in bottlenecks} == bottlenecks
    assert next(node for node in network if node.name == "tail").shape.c == tail


def test_default_detector_is_cheap(run: Run) -> None:
    network = run()
    totals = info.totals(info.rows(network))
    assert network.options.size == (416, 416)
    assert totals.parameters <= 2_600_000
    assert totals.bflops <= 1.03
    heads = [node for node in network if isinstance(node.layer, Yolo)]
    assert [tuple(node.shape) for node in heads] == [
        (85, 52, 52), (85, 26, 26), (85, 13, 13),
    ]  # fmt: skip
    assert [node.layer.mask for node in heads] == [(0,), (1,), (2,)]


def test_backbone_of_detector_and_classifier_are_one(run: Run) -> None:
    backbone, detector = run("--task", "backbone"), run("--size", "224x224")
    assert [node.layer for node in detector][: len(backbone)] == [node.layer for node in backbone]
    assert backbone[-1].shape == (160, 7, 7)


# --- the structure

REFERENCES = ("layer", "from=")
# Reference: the official GhostBottleneck in Darknet's sections, with indices relative as in a cfg.
GHOST = ["1x1", "dw 3", "route -2,-1"]  # the cheap operation is 3x3 in every row
TEMPLATES = {
    "identity": (16, 16, 0, 1, "logistic", [*GHOST, *GHOST, "shortcut -7"]),
    "identity, squeeze": (
        16, 16, 8, 1, "hard",
        [*GHOST, "avgpool", "bias relu", "bias hardtan", "scale_channels -4", "shortcut -5",
         *GHOST, "shortcut -12"],
    ),
    "strided": (
        16, 24, 0, 2, "logistic",
        [*GHOST, "dw 5/2", *GHOST, "route -8", "dw 5/2", "1x1", "shortcut -4"],
    ),
    "strided, squeeze": (
        16, 24, 8, 2, "hard",
        [*GHOST, "dw 5/2", "avgpool", "bias relu", "bias hardtan", "scale_channels -4",
         "shortcut -5", *GHOST, "route -13", "dw 5/2", "1x1", "shortcut -4"],
    ),
    "wider, squeeze": (
        16, 24, 8, 1, "hard",
        [*GHOST, "avgpool", "bias relu", "bias hardtan", "scale_channels -4", "shortcut -5",
         *GHOST, "route -12", "dw 5", "1x1", "shortcut -4"],
    ),
    "wider, squeeze, logistic": (
        16, 24, 8, 1, "logistic",
        [*GHOST, "avgpool", "bias relu", "bias logistic", "scale_channels -4",
         *GHOST, "route -11", "dw 5", "1x1", "shortcut -4"],
    ),
}  # fmt: skip


def described(node: Node, line: str) -> str:
    """Return a node in the words of `TEMPLATES`; line: its reference as the cfg has it."""
    layer = node.layer
    if not isinstance(layer, Convolutional):
        return f"{layer.kind} {line}".rstrip()
    if not layer.batch_normalize:
        return f"bias {layer.activation}"
    if layer.groups == 1:
        return f"{layer.size}x{layer.size}"
    assert layer.groups == layer.filters
    return f"dw {layer.size}/{layer.stride}".removesuffix("/1")


@pytest.mark.parametrize("variant", TEMPLATES)
def test_bottleneck_is_the_official_one_in_sections(variant: str) -> None:
    before, out, reduced, stride, gate, want = TEMPLATES[variant]
    network = Network(NetOptions(width=16, height=16, channels=3))
    x = conv(network, IMAGE, before, 1)
    bottleneck(
        network, x, 32, out, size=5, stride=stride, reduced=reduced, ghostnet=GhostNet(gate=gate)
    )
    sections = dumps(network).split("\n[")[2:]
    lines = [
        next((line.partition("=")[2] for line in text.splitlines() if line[:5] in REFERENCES), "")
        for text in sections
    ]
    got = [described(node, line) for node, line in zip(network.nodes[1:], lines, strict=True)]
    assert got == want


def test_shortcut_branch_starts_at_the_input_of_the_block(run: Run) -> None:
    network = run("--task", "backbone")
    starts = [
        n for n in network if n.name.endswith("shortcut depthwise") and n.layer.kind == "route"
    ]
    assert len(starts) == 5
    for route in starts:
        stage = route.name.rpartition(",")[0]
        inside = next(n.index for n in network if n.name.startswith(f"{stage},"))
        assert route.inputs == (inside - 1,)


def test_second_ghost_module_is_linear_and_first_is_not(run: Run) -> None:
    for node in run("--task", "backbone"):
        if isinstance(node.layer, Convolutional) and "ghost" in node.name:
            want = "relu" if "ghost 1" in node.name else "linear"
            assert node.layer.activation == want, node.name


def test_hard_gate_is_the_official_one() -> None:
    """x * relu6(v + 3) / 6 with the expansion's numbers thirded and the next weights halved."""
    network = Network(NetOptions(width=6, height=5, channels=8))
    x = conv(network, IMAGE, 8, activation="linear")
    y = squeeze_excite(network, x, 4, gate="hard")
    conv(network, y, 6, activation="linear", norm=False)
    assert isinstance(network[-2].layer, Shortcut)
    torch.manual_seed(0)
    model = Model(network).eval()
    block = model.layers[0]
    reduce, expand, project = (layer.conv for layer in model.layers[1:] if hasattr(layer, "conv"))
    with torch.no_grad():
        for layer in (reduce, expand, project):
            layer.weight.normal_(std=2)
            layer.bias.normal_(std=2)
        image = torch.randn(2, 8, 5, 6)
        inside = block(image)
        v = expand(F.relu(reduce(inside.mean((2, 3), keepdim=True))))
        want = project(inside * F.relu6(v + 3) / 6)
        assert (v < -3).any() and (v > 3).any() and (v.abs() < 3).any()
        for parameter in (expand.weight, expand.bias):
            parameter /= 3
        project.weight /= 2
        got = model.trace(image)[-1]
    torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)


# --- the options

SIZE = "write height x width, as 416x416, or one number for a square"
PAIRS = "give a width and a height for each anchor, in pixels"
MISSING = "No such file or directory"


@pytest.mark.parametrize(
    ("words", "check"),
    [
        ("--ratio 1", lambda n: not any("cheap" in node.name for node in n)),
        ("--ratio 4", lambda n: n[2].layer.filters == 3 * n[1].layer.filters),
        ("--dw-size 5", lambda n: n[2].layer.size == 5),
        ("--gate hard", lambda n: sum("x + x * gate" in node.name for node in n) == 7),
        ("--classes 3", lambda n: n[-1].shape.c == 8),
        ("--size 320x416", lambda n: n.options.size == (320, 416)),
        ("--size 64", lambda n: n.options.size == (64, 64)),
        ("--neck fpn", lambda n: not any("shrink" in node.name for node in n)),
        ("--neck none", lambda n: {"upsample"}.isdisjoint(node.layer.kind for node in n)),
        ("--neck-width 96", lambda n: n[-2].layer.filters == 85 and n[-3].shape.c == 96),
        ("--heads 16,32", lambda n: n[-1].shape[1:] == (13, 13)),
        ("--heads 32,8", lambda n: [h.shape.h for h in n if h.layer.kind == "yolo"] == [52, 13]),
        ("--heads 4,8,16,32", lambda n: n[-1].layer.num == 4),
        ("--heads 32 --anchors 10,20,30.5,40", lambda n: n[-1].layer.anchors == (10, 20, 30.5, 40)),
        ("--heads 8,32 --anchors 1,2,3,4,5,6,7,8", lambda n: n[-1].layer.mask == (2, 3)),
        ("--width 0.35", lambda n: n[0].shape.c == 8),
        ("--task classify --classes 10 --size 100x37", lambda n: n[-1].shape == (10, 1, 1)),
        ("--task backbone --size 1x1", lambda n: n[-1].shape == (160, 1, 1)),
    ],
)  # fmt: skip
def test_option(words: str, check: Callable[[Network], bool], run: Run) -> None:
    assert check(run(*words.split()))


def test_anchors_follow_the_size(run: Run) -> None:
    layer = run("--size", "224x832")[-1].layer
    assert isinstance(layer, Yolo)
    assert layer.anchors == (34, 11, 96, 37, 378, 97)


def test_names_are_counted(tmp_path: Path, run: Run) -> None:
    names = tmp_path / "größer als.names"
    names.write_text("\ufeffKatze\nHund\r\nGroßer Vogel\n\n", encoding="utf-8")
    assert run("--names", str(names))[-1].layer.classes == 3


def test_training_length_follows_the_classes(run: Run) -> None:
    for classes, iterations in ((1, 6000), (3, 6000), (20, 40000)):
        assert run("--classes", str(classes)).options.max_batches >= min(iterations, 6000)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--width 0", "width 0; use 0.05 to 16, such as 0.5, 1.0 or 1.3"),
        ("--width nan", "width nan; use 0.05 to 16, such as 0.5, 1.0 or 1.3"),
        ("--width 1e9", "width 1e+09; use 0.05 to 16, such as 0.5, 1.0 or 1.3"),
        ("--ratio 0", "ratio 0 is below 1; use 2, the paper's"),
        ("--ratio 3", "ratio 3 does not divide 16, a channel count at this width; "
         "use one of 1, 2, 4, 8"),
        ("--neck-width 65", "ratio 2 does not divide 65 filters "
         "(neck, down to stride 16); use one of 1, 5"),
        ("--neck-width 2", "neck width 2 is below 4; use 64"),
        ("--dw-size 4", "cheap kernels of 4x4 have no centre; use an odd kernel, such as 3"),
        ("--dw-size -1", "cheap kernels of -1x-1 have no centre; use an odd kernel, such as 3"),
        ("--classes 0", "0 classes; use 1 or more"),
        ("--classes -5", "-5 classes; use 1 or more"),
        ("--task classify --classes 0", "0 classes; use 1 or more"),
        ("--size 400x416", "size 400 is not a multiple of the largest stride, 32; use 384"),
        ("--size 0x416", "size 0; use 1 to 16384 pixels"),
        ("--size 32000", "size 32000; use 1 to 16384 pixels"),
        ("--size 33x-1", f"--size 33x-1; {SIZE}"),
        ("--size 1x2x3", f"--size 1x2x3; {SIZE}"),
        ("--size big", f"--size big; {SIZE}"),
        ("--heads 64", "heads at strides 64; use different ones of 4, 8, 16, 32"),
        ("--heads 8,8", "heads at strides 8,8; use different ones of 4, 8, 16, 32"),
        ("--heads=", "heads at strides (none); use different ones of 4, 8, 16, 32"),
        ("--heads eight", "--heads eight; write numbers separated by commas"),
        ("--heads 8,,16", "--heads 8,,16; write numbers separated by commas"),
        ("--anchors 1,2,3", f"3 anchor numbers; {PAIRS}"),
        ("--anchors 1,2,3,4", "2 anchors do not divide among 3 heads; give a multiple of 3 pairs"),
        ("--anchors 1,2,3,4,5,-6", f"anchors below 0; {PAIRS}"),
        ("--anchors 1,2,3,4,5,nan", "--anchors 1,2,3,4,5,nan; write numbers separated by commas"),
        ("--anchors 1,2,3,4,5,inf", "--anchors 1,2,3,4,5,inf; write numbers separated by commas"),
        ("--task classify --neck fpn", "neck fpn is not for task classify; leave it out"),
        ("--task backbone --classes 3", "classes 3 is not for task backbone; leave it out"),
        ("--task backbone --heads 8", "heads 8 is not for task backbone; leave it out"),
    ],
)  # fmt: skip
def test_wrong_option(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert gencfg.main(words.split()) == 1
    assert capsys.readouterr() == ("", f"ghostyolo: {message}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, f": cannot read names: {MISSING}; give a text file with one class name a line"),
        ("", ":1: no class name here; one name a line"),
        ("\n\n", ":1: no class name here; one name a line"),
        ("cat\n\ndog\n", ":2: no class name here; one name a line"),
    ],
)  # fmt: skip
def test_wrong_names(
    content: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.names"
    if content is not None:
        path.write_text(content)
    assert gencfg.main(["--names", str(path)]) == 1
    assert capsys.readouterr() == ("", f"ghostyolo: {path}{message}\n")


@pytest.mark.parametrize(
    "words",
    ["--task paint", "--width wide", "--neck bifpn", "--gate soft", "--classes 2 --names x",
     "--wdith 1", "--wid 1", "--heads", "extra"],
)  # fmt: skip
def test_usage_error(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        gencfg.main(words.split())
    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


# --- where it is written


def test_file_is_what_standard_output_gets(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "a b.cfg"
    out.write_text("old")
    assert gencfg.main(["--width", "0.5", "--out", str(out)]) == 0
    capsys.readouterr()
    assert gencfg.main(["--width", "0.5"]) == 0
    assert capsys.readouterr() == (out.read_text(), "")
    assert [path.name for path in tmp_path.iterdir()] == ["a b.cfg"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", "80 classes (COCO's), 416x416, batch 64; --data DATA for yours"),
        ("--classes 1 --size 320x256", "1 class, 320x256, batch 4"),
        ("--names 6.names", "6 classes, 416x416, batch 4"),
        ("--task classify", "1000 classes (as in the paper), 224x224, batch 128; --data DATA for"),
        ("--task backbone", "224x224, batch 128"),
    ],
)
def test_a_written_file_is_told(
    words: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("6.names").write_text("a\n" * 6)
    assert gencfg.main([*words.split(), "--width", "0.5", "--out", "my.cfg"]) == 0
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"ghostyolo: my.cfg: written, {told}")
    assert ("--data" in err) == ("(" in told)


def test_command_writes_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.cfg"
    words = ["--width", "0.5", "--heads=16,32"]
    assert cli.main(["gencfg", *words, "--out", str(out)]) == 0
    capsys.readouterr()
    assert gencfg.main(words) == 0
    assert capsys.readouterr() == (out.read_text(), "")
    with pytest.raises(SystemExit):
        cli.main(["gencfg", "--wid", "0.5"])  # the cfg quotes the options, which are never short


def test_failure_leaves_what_was_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "x.cfg"
    out.write_text("old")
    assert gencfg.main(["--ratio", "3", "--out", str(out)]) == 1
    assert out.read_text() == "old"
    (tmp_path / "folder").mkdir()
    for target, reason in (
        (tmp_path / "none" / "x.cfg", MISSING),
        (tmp_path / "folder", "Is a directory"),
        (out / "x.cfg", "Not a directory"),
    ):
        capsys.readouterr()
        assert gencfg.main(["--out", str(target)]) == 1
        hint = "give a file in a folder that can be written"
        assert capsys.readouterr().err == f"ghostyolo: {target}: cannot write: {reason}; {hint}\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "x.cfg"]


def test_reader_that_goes_away_is_no_error_of_ours() -> None:
    script = f"{shlex.quote(sys.executable)} -m ghostyolo.gencfg | head -n 1"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stdout == "# Written by python -m ghostyolo.gencfg\n"
    assert done.stderr == ""


def test_start_waits_for_no_module_that_it_does_not_need() -> None:
    """Without `site`, whose files in an environment may import anything."""
    script = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import ghostyolo.gencfg"
    script += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    slow = {"pathlib", "logging", "json", "shutil", "tempfile", "importlib.metadata"}
    assert slow.isdisjoint(done.stdout.split())


def test_default_needs_no_option(run: Run) -> None:
    network = run()
    assert network.comment == f"Written by python -m ghostyolo.gencfg\n{networks.VERSION}"
    assert all(node.name for node in network)
    assert {n.layer.classes for n in network if isinstance(n.layer, Yolo)} == {80}
