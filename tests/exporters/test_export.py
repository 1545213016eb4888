"""Exported files: in every program that runs them, against the model; what they say; samples."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx.parser
import onnxruntime
import pytest
import torch
from onnx import helper
from torch import nn

from ghostyolo import boxes
from ghostyolo.cli import main
from ghostyolo.errors import CfgError, OptionError
from ghostyolo.exporters import calibration, export, formats
from ghostyolo.exporters import onnx as onnx_file
from ghostyolo.exporters.onnx_tidy import tidy
from ghostyolo.exporters.settings import OPSETS, ExportSettings, Suppression
from ghostyolo.inference.choice import open_runtime
from ghostyolo.inference.verification import expected_outputs, verify
from ghostyolo.model.detections import Detections
from ghostyolo.model.folded import folded
from ghostyolo.model.model import Model
from ghostyolo.network import load, loads, metadata
from ghostyolo.ops.convolution import Convolution
from ghostyolo.sample_data.painter import write_dataset
from support import exports, goldens, published, tiny
from support.cases import GENERATED, KINDS, random_model

LIMIT = 1e-4  # of the largest magnitude in the tensor
# Groups, asymmetric padding, sums of unequal channels; tools/export_tally.py runs all cfgs.
OURS = ("mini_csp_newcoords_nobn", "mini_ops_nobn", "mini_v3_mse", "mini_v4tiny_b4s2")
PUBLISHED = ("yolov3-tiny-prn", "yolov4-tiny")
needs_openvino = pytest.mark.skipif(
    not importlib.util.find_spec("openvino"), reason="openvino is not installed"
)
SMALL = ("0.5-voc", "0.5-imagenet")
SUFFIXES = {name: found.suffixes[-1] for name, found in formats.FORMATS.items()}
FORMATS = [
    pytest.param(name, marks=needs_openvino) if name == "openvino" else name for name in SUFFIXES
]
REFUSED = {"torchscript": ["detections"]}  # layouts that a format does not hold


@pytest.fixture(scope="module")
def eager(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Return a small detector that finds something everywhere."""
    folder = tmp_path_factory.mktemp("eager")
    return Model(loads(tiny.CFG), tiny.eager_weights(folder)).eval()


def shares(built: Model, folder: Path) -> dict[str, float]:
    """Return how far each program is from the model; an error of one is raised."""
    found = {}
    for program, got, want in exports.outputs(built, ExportSettings(), folder):
        if isinstance(got, Exception):
            raise AssertionError(program) from got
        found[program] = exports.share(got, want)
    return found


@pytest.mark.parametrize(
    "path", [path for path in GENERATED if path.stem[9:] in SMALL], ids=lambda p: p.stem
)
def test_generated_cfg_in_every_program(path: Path, tmp_path: Path) -> None:
    found = shares(random_model(exports.small(path)), tmp_path)
    assert len(found) >= 3 and max(found.values()) < LIMIT, found


@pytest.mark.parametrize("name", OURS)
def test_cfg_of_a_golden_in_every_program(name: str, tmp_path: Path) -> None:
    network = exports.small(goldens.FOLDER / "train" / f"{name}.cfg")
    found = shares(exports.model(network), tmp_path)
    assert max(found.values()) < LIMIT, found


@pytest.mark.parametrize("stem", PUBLISHED)
def test_published_cfg_in_every_program(stem: str, tmp_path: Path) -> None:
    network = exports.small(published.CFGS.get(f"cfg/{stem}.cfg"))
    found = shares(exports.model(network), tmp_path)
    assert max(found.values()) < LIMIT, found


@pytest.mark.parametrize("path", KINDS, ids=lambda p: p.stem)
def test_plain_form_computes_the_same(path: Path) -> None:
    """Of every layer of every kind, each fed what the model's own layer is fed."""
    built = random_model(load(path))
    outputs = built.trace(torch.rand(2, *built.network.options.shape))
    outputs.append(torch.rand(2, *built.network.options.shape))  # node -1: the picture
    torch.manual_seed(1)
    for node, layer, want in zip(built.network, folded(built).layers, built.layers, strict=True):
        inputs = [torch.randn_like(outputs[index]) for index in node.inputs]
        with torch.no_grad():
            torch.testing.assert_close(layer(*inputs), want(*inputs), atol=2e-5, rtol=1e-4)


def test_statistics_are_folded_in_double() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    layer = Convolution(conv, norm=True, activation="linear").eval()
    assert layer.norm is not None and layer.norm.running_var is not None
    layer.norm.running_var.uniform_(1e-4, 2)
    network = loads(tiny.CFG)
    model = Model(network)
    model.layers[0] = layer
    conv = folded(model).layers[0][0]
    x = torch.rand(1, 3, 16, 16, dtype=torch.float64)
    want = layer.double()(x)
    error = (conv.double()(x) - want).abs().max() / want.abs().max()
    assert error < 2e-7  # what one rounding of weight and bias leaves


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    "settings",
    [
        ExportSettings(batch=2),
        ExportSettings(boxes="cxcywh", dynamic="size"),
        ExportSettings(boxes="xyxy", suppression=Suppression(0.5, 0.4, 7)),
    ],
    ids=lambda settings: settings.layout,
)
def test_forms(name: str, settings: ExportSettings, eager: Model, tmp_path: Path) -> None:
    path = tmp_path / f"x{SUFFIXES[name]}"
    if settings.layout in REFUSED.get(name, ()):
        with pytest.raises(OptionError, match=r"leave .*--nms out"):
            export.write(eager, path, settings, name)
        assert not path.exists()
        return
    export.write(eager, path, settings, name)
    if not formats.FORMATS[name].runtime:
        return
    found = verify(eager, path, settings, name)
    assert found and found.relative < 1e-5
    with open_runtime(path) as runtime:
        assert runtime.metadata == settings.metadata(eager.network)
    if settings.dynamic:
        larger = np.random.default_rng(1).random((3, 3, 96, 160), np.float32)
        got = exports.run(path, larger)
        want = expected_outputs(eager, settings, larger)
        assert exports.share(got, want) < 1e-5
    if settings.suppression:
        rows = exports.run(path, np.zeros((1, 3, 64, 64), np.float32))["detections"]
        assert len(rows) == 7 and (rows[:, 5] > 0.5).all()
        overlaps = np.triu(boxes.iou(rows[:, 1:5], rows[:, 1:5]), 1)
        assert overlaps.max() <= 0.4 + 1e-6


@pytest.mark.parametrize("opset", [OPSETS.start, OPSETS.stop - 1])
def test_opset(opset: int, eager: Model) -> None:
    proto = onnx_file.build(eager, ExportSettings(boxes="xyxy", opset=opset))
    assert [item.version for item in proto.opset_import] == [opset]


def test_raw_outputs_open_with_any_size_in_opencv(eager: Model, tmp_path: Path) -> None:
    """Also in OpenCV 4, which reads no arithmetic on shapes."""
    path, settings = tmp_path / "x.onnx", ExportSettings(dynamic="size")
    export.write(eager, path, settings, "onnx")
    images = np.random.default_rng(1).random((1, 3, 96, 160), np.float32)
    want = expected_outputs(eager, settings, images)
    assert exports.share(exports.opencv_outputs(path, list(want), images), want) < 1e-5


def test_tidy_joins_a_pad_to_its_pooling() -> None:
    """And works out a shape; the result is that of the graph as it was."""
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[1,2,5,5] x) => (float[1,2,5,5] y)
    <int64[8] pads = {0,0,0,0,0,0,1,1}, float v = {-3e38}> {
        p = Pad <mode="constant"> (x, pads, v)
        m = MaxPool <kernel_shape=[2,2], strides=[1,1]> (p)
        s = Shape (x)
        y = Reshape (m, s)
    }"""
    x = np.random.default_rng(0).normal(size=(1, 2, 5, 5)).astype(np.float32)
    tidied = tidy(onnx.parser.parse_model(text))
    assert [node.op_type for node in tidied.graph.node] == ["MaxPool", "Reshape"]
    assert [i.name for i in tidied.graph.input] == ["x"]
    got, want = (
        onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"x": x})[0]
        for proto in (tidied, onnx.parser.parse_model(text))
    )
    np.testing.assert_array_equal(got, want)


def test_size_stays_fixed_where_weights_hang_on_it() -> None:
    cfg = tiny.CFG.replace("[yolo]", "[local_avgpool]\nsize=1\n\n[yolo]")
    ExportSettings(dynamic="size").check(loads(cfg))
    cfg = tiny.CFG.partition("[yolo]")[0] + "[connected]\noutput=3\n"
    with pytest.raises(OptionError, match="weights are for one input size; use --dynamic batch"):
        ExportSettings(dynamic="size").check(loads(cfg))
    with pytest.raises(CfgError, match="no detection head"):
        ExportSettings(boxes="xyxy").check(loads(cfg))


OVERLAPS = [("10,12,30,28", "60,60,64,64")]


@dataclass(frozen=True)
class Sample:
    """A cfg, weights, and a picture that the printed sample is to find the same things in."""

    cfg: Path
    weights: Path
    picture: Path
    out: Path

    @classmethod
    def made(
        cls, folder: Path, letterbox: int, words: list[str], language: str, bias: float = 4,
        nms: str = "",
    ) -> Sample:  # fmt: skip
        """nms: keys of `[yolo]`, which then has boxes that overlap."""
        changes = [("channels=3", f"channels=3\nletter_box={letterbox}")]
        cfg = tiny.write(
            folder, *changes, *([*OVERLAPS, ("num=2", f"num=2\n{nms}")] if nms else [])
        )
        painted = write_dataset(folder / "d", {"train": 1}, size=(96, 128))
        names = folder / "x.names"
        names.write_text("\n".join(f"thing {i}" for i in range(6)))
        weights = tiny.eager_weights(folder, bias)
        made = cls(cfg, weights, next(painted.rglob("*.jpg")), folder / "x.onnx")
        given = [str(cfg), str(made.weights), str(made.out), "--names", str(names)]
        assert main(["export", *given, "--sample", language, *words]) == 0
        return made

    def agrees(self, *command: str | Path) -> bool:
        """Run it, and return whether it prints what `detect` finds and draws it."""
        boxed = self.out.with_name("boxed.png")
        done = subprocess.run([*command, self.picture, boxed], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert cv2.imread(str(boxed)).shape == (96, 128, 3)
        found = [tuple(line.rsplit(" ", 5)) for line in done.stdout.splitlines()]
        want = Model(self.cfg, self.weights).detect(self.picture)
        assert len(found) == len(want.scores) > 3
        return all(_among(row, want) for row in found)

    def tells_that_nothing_is_above(self, thresh: str, *command: str | Path) -> bool:
        done = subprocess.run([*command, self.picture], capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (0, "")
        return done.stderr.startswith(f"nothing found above {thresh}; ")


def _among(row: tuple[str, ...], want: Detections) -> bool:
    name, score, *box = row
    edges = np.clip([int(edge) for edge in box], 0, (128, 96, 128, 96))
    same = (np.abs(want.boxes - edges).max(1) <= 1.01) & (want.classes == int(name[-1]))
    return bool(np.abs(want.scores[same] - float(score)).min(initial=1) < 1e-4)


LAYOUTS = [], ["--decode"], ["--decode", "cxcywh"]
needs_opencv_5 = pytest.mark.skipif(
    cv2.__version__ < "5", reason=f"OpenCV {cv2.__version__} has no NonMaxSuppression"
)


@pytest.mark.parametrize("letterbox", [0, 1])
@pytest.mark.parametrize(
    "words", [*LAYOUTS, pytest.param(["--nms"], marks=needs_opencv_5)], ids=" ".join
)
def test_sample_prints_what_detect_finds(letterbox: int, words: list[str], tmp_path: Path) -> None:
    made = Sample.made(tmp_path, letterbox, words, "python")
    assert made.agrees(sys.executable, tmp_path / "x_opencv.py")


SUPPRESSIONS = [
    ("nms_kind=greedynms", 0, []),
    ("nms_kind=default\nbeta_nms=.2", 0, []),
    ("nms_kind=diounms\nbeta_nms=.3", 1, ["--decode"]),
]


@pytest.mark.parametrize("nms, letterbox, words", SUPPRESSIONS)
def test_sample_suppresses_as_the_cfg_says(
    nms: str, letterbox: int, words: list[str], tmp_path: Path
) -> None:
    made = Sample.made(tmp_path, letterbox, words, "python", nms=nms)
    assert made.agrees(sys.executable, tmp_path / "x_opencv.py")
    counts = [len(Model(made.cfg, made.weights).detect(made.picture))]
    text = made.cfg.read_text()
    made.cfg.write_text(text.replace(nms, "nms_kind=default"))
    counts.append(len(Model(made.cfg, made.weights).detect(made.picture)))
    assert (counts[0] == counts[1]) == ("default" in nms)


@needs_opencv_5
def test_suppression_in_the_file_tells_that_it_differs_from_the_cfg(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = Sample.made(tmp_path, 0, ["--nms"], "python", nms="nms_kind=greedynms")
    told = "the file suppresses boxes by their IoU, not by nms_kind=greedynms as ghostyolo detect"
    assert told in caplog.text
    command = [sys.executable, tmp_path / "x_opencv.py", made.picture]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "suppressed by their IoU, not by nms_kind=greedynms of the cfg" in done.stderr


@pytest.mark.parametrize(
    "words, thresh",
    [
        ([], "0.25"),
        (["--decode"], "0.25"),
        pytest.param(["--nms", "--thresh", ".4"], "0.4", marks=needs_opencv_5),
    ],
)
def test_sample_tells_that_nothing_is_found(words: list[str], thresh: str, tmp_path: Path) -> None:
    made = Sample.made(tmp_path, 0, words, "python", bias=-4)
    assert made.tells_that_nothing_is_above(thresh, sys.executable, tmp_path / "x_opencv.py")


def test_sample_tells_what_it_wants(tmp_path: Path) -> None:
    Sample.made(tmp_path, 0, [], "python")
    command = [sys.executable, tmp_path / "x_opencv.py"]
    for words, told in (([], "x_opencv.py PICTURE"), (["no.jpg"], "no.jpg: no picture that Open")):
        done = subprocess.run([*command, *words], capture_output=True, text=True)
        assert done.returncode == 1
        assert told in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "words, nms", [*((words, "") for words in LAYOUTS), ([], "nms_kind=greedynms")]
)
def test_cpp_sample_prints_what_detect_finds(words: list[str], nms: str, tmp_path: Path) -> None:
    """Compiled against the OpenCV of the system, whichever that is."""
    if not shutil.which("g++") or not shutil.which("pkg-config"):
        pytest.skip("no C++ compiler (Debian: g++, pkg-config)")
    asked = ["pkg-config", "--cflags", "--libs", "opencv4"]
    flags = subprocess.run(asked, capture_output=True, text=True)
    if flags.returncode:
        pytest.skip("no C++ headers of OpenCV (Debian: libopencv-dev)")
    made = Sample.made(tmp_path, 1, words, "cpp", nms=nms)
    source, program = tmp_path / "x_opencv.cpp", tmp_path / "x"
    compile_ = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", source, "-o", program]
    done = subprocess.run([*compile_, *flags.stdout.split()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert made.agrees(program, made.out)
    (tmp_path / "empty").mkdir()
    made = Sample.made(tmp_path / "empty", 1, words, "cpp", bias=-4)
    assert made.tells_that_nothing_is_above("0.25", program, made.out)


@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_eight_bits(name: str, eager: Model, tmp_path: Path) -> None:
    if name == "openvino":
        pytest.importorskip("nncf")
    pictures = sorted(write_dataset(tmp_path / "d", {"train": 4}, size=(96, 128)).rglob("*.jpg"))
    path, settings = tmp_path / f"x{SUFFIXES[name]}", ExportSettings(names=("a",) * 6)
    images = calibration.inputs(eager.network, pictures, settings)
    export.write(eager, path, settings, name, images)
    with open_runtime(path) as runtime:
        assert runtime.class_names == settings.names
    found = verify(eager, path, settings, name)
    assert found and 0 < found.relative < 0.2
    if name == "onnx":
        nodes = {node.name: node for node in onnx.load(path).graph.node}
        last = next(node for name_, node in nodes.items() if "layers.2" in name_)
        assert last.op_type == "Conv"
        kinds = {node.op_type for node in nodes.values()}
        assert "QuantizeLinear" in kinds and "DequantizeLinear" in kinds


def test_openvino_stores_all_weights_in_eight_bits(tmp_path: Path) -> None:
    """Those of squeeze-excite and depthwise convolutions too; the layer above a head is float."""
    openvino = pytest.importorskip("openvino")
    pytest.importorskip("nncf")
    squeezed = (
        "[convolutional]\nfilters=22",
        "[avgpool]\n[convolutional]\nfilters=8\nactivation=relu\n"
        "[convolutional]\nfilters=8\nactivation=logistic\n[scale_channels]\nfrom=-4\n"
        "[convolutional]\nfilters=8\ngroups=8\nsize=3\npad=1\n[convolutional]\nfilters=22",
    )
    model = random_model(loads(tiny.CFG.replace(*squeezed))).eval()
    pictures = sorted(write_dataset(tmp_path / "d", {"train": 4}, size=(96, 128)).rglob("*.jpg"))
    images, kinds = calibration.inputs(model.network, pictures, ExportSettings()), {}
    for name, given in (("float", None), ("int8", images)):
        path = tmp_path / f"{name}.xml"
        export.write(model, path, ExportSettings(), "openvino", given)
        found = verify(model, path, ExportSettings(), "openvino")
        assert found and found.relative < (0.2 if name == "int8" else 1e-5)
        operators = openvino.Core().read_model(path).get_ordered_ops()
        assert not [op for op in operators if op.get_type_name() == "ShapeOf"]
        kinds[name] = [stored(op) for op in operators if "Convolution" in op.get_type_name()]
    assert kinds["float"] == ["f32"] * 6
    assert kinds["int8"] == ["i8"] * 5 + ["f32"]


def stored(convolution: Any) -> str:
    """Return the type of the numbers that a convolution's weights are made of."""
    node = convolution.input_value(1).get_node()
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return node.get_element_type().get_type_name()


def test_a_missing_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.delitem(sys.modules, "ghostyolo.exporters.openvino", raising=False)
    with pytest.raises(OptionError, match=r"openvino is not installed; pip install 'ghostyolo"):
        export.import_writer("openvino", "openvino")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["x.bin"], "use one of .onnx, .xml, .torchscript, .pt"),
        (["x.onnx", "--format", "torchscript"], "files end in .torchscript or .pt; give it the"),
        (["x.onnx", "--opset", "9"], "use 11 to 20"),
        (["x.torchscript", "--opset", "17"], "--opset 17 is for ONNX files; leave --opset out"),
        (["x.xml", "--sample", "python"], "give OUT an .onnx suffix"),
        (["x.onnx", "--nms", "--sample", "cpp"], "leave --nms out"),
        (["x.onnx", "--decode", "--iou", ".6"], "--iou is for suppression in the file; add --nms"),
        (["no/x.onnx"], "give a file in a folder that can be written"),
    ],
)
def test_mistakes(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cfg, weights = tiny.write(tmp_path), tiny.eager_weights(tmp_path)
    code = main(["export", str(cfg), str(weights), str(tmp_path / words[0]), *words[1:]])
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (1, 1) and message in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.cfg", "tiny.weights"]


def test_operator_that_onnx_lacks_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """And not the graph, which torch prints before it raises."""
    network = loads(tiny.CFG.partition("[yolo]")[0] + "[connected]\noutput=3\n")
    with pytest.raises(OptionError, match=r"'aten::unflatten' .* not supported; use a later --ops"):
        export.write(Model(network), tmp_path / "x.onnx", ExportSettings(opset=11), "onnx")
    assert capfd.readouterr() == ("", "")


def test_names_beside_the_weights_go_into_the_file(tmp_path: Path) -> None:
    cfg, weights = tiny.write(tmp_path), tiny.eager_weights(tmp_path)
    (tmp_path / "x.names").write_text("a\nb\nc\nd\ne\nf\n")
    out = tmp_path / "out" / "x.onnx"
    out.parent.mkdir()
    assert main(["export", str(cfg), str(weights), str(out)]) == 0
    with open_runtime(out) as runtime:
        assert runtime.class_names == tuple("abcdef")


def test_metadata_survives_its_text() -> None:
    own = metadata.Metadata(loads(tiny.CFG), ("a", "b\n"), "decoded", "xyxy")
    proto = helper.make_model(helper.make_graph([], "g", [], []))
    helper.set_model_props(proto, own.properties())
    back = {entry.key: entry.value for entry in proto.metadata_props}
    assert metadata.read(back, "x") == own
