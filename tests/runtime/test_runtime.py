"""One interface over the programs that compute a network, held against the model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import ghostyolo
from ghostyolo.errors import DataError, Findings, OptionError
from ghostyolo.exporters import export
from ghostyolo.exporters.formats import format_of
from ghostyolo.exporters.settings import ExportSettings, Suppression
from ghostyolo.inference.choice import open_runtime
from ghostyolo.model.model import Model
from ghostyolo.network import dumps, load, loads
from ghostyolo.runtime import onnx_metadata, pytorch, registry, threads, torch_memory
from ghostyolo.runtime.backend import library_errors
from ghostyolo.runtime.interface import open_file
from ghostyolo.runtime.registry import RUNTIMES, installed_versions
from support import ROOT, tiny
from support.cases import KINDS, random_input, random_model

SUFFIX = {name: entry.suffixes[0] for name, entry in RUNTIMES.items()}
OF_CFGS = registry.readers("x.cfg")
CLOSE = 1e-5


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a cfg, weights, names, and the model in each format."""
    path = tmp_path_factory.mktemp("runtime")
    tiny.write(path)
    tiny.eager_weights(path)
    (path / "tiny.names").write_text("a\nb\nc\nd\ne\nf\n")
    model = Model(path / "tiny.cfg", path / "tiny.weights")
    for suffix in sorted(set(SUFFIX.values())):
        file = path / f"tiny{suffix}"
        export.write(model, file, ExportSettings(names=tuple("uvwxyz")), format_of(file))
    export.write(model, path / "open.onnx", ExportSettings(dynamic="size"), "onnx")
    export.write(model, path / "four.onnx", ExportSettings(batch=4), "onnx")
    return path


def inputs(count: int, size: tuple[int, int] = (64, 64)) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3, *size), np.float32)


def expected(folder: Path, images: np.ndarray) -> list[np.ndarray]:
    with torch.inference_mode():
        model = Model(folder / "tiny.cfg", folder / "tiny.weights").eval()
        return [output.numpy() for output in model(torch.from_numpy(images))]


def assert_close(got: list[np.ndarray], want: list[np.ndarray]) -> None:
    for a, b in zip(got, want, strict=True):
        assert a.dtype == np.float32
        np.testing.assert_allclose(a, b, atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("name", OF_CFGS)
@pytest.mark.parametrize("count", [1, 3])
def test_cfg_gives_what_the_model_gives(name: str, count: int, folder: Path) -> None:
    images = inputs(count)
    with open_runtime(folder / "tiny.cfg", folder / "tiny.weights", name=name, batch=2) as runtime:
        assert (runtime.name, runtime.class_names) == (name, tuple("abcdef"))
        assert_close(runtime.run(images), expected(folder, images))


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("path", KINDS, ids=lambda path: path.stem)
def test_torch_computes_every_kind_folded(
    path: Path, fused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With oneDNN's own convolutions and, as where they are missing, with torch's."""
    if not fused:
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    model = random_model(load(path, findings=Findings(quiet=True, compat=True))).eval()
    x = random_input(model.network)
    with torch.inference_mode():
        want = [output.numpy() for output in model(torch.from_numpy(x))]
    for got, output in zip(pytorch.open_model(model, "cpu").compute(x), want, strict=True):
        np.testing.assert_allclose(got, output, atol=1e-4 * max(1e-3, np.abs(output).max()))


def test_torch_holds_no_weights_twice(folder: Path) -> None:
    model = Model(folder / "tiny.cfg", folder / "tiny.weights")
    pytorch.open_model(model, "cpu")
    assert not list(model.parameters())


CONV = "[convolutional]\nfilters={}\nsize=3\npad=1\nactivation=relu\n"
JOINED = f"{CONV.format(4)}{CONV.format(8)}groups=4\n[route]\nlayers=-1,-2\n"
HALVED = CONV.format(24) + "groups=12\nstride=2\nbatch_normalize=1\n"
ADDED = "[shortcut]\nfrom=0\n"
# Layers, which concatenations need not be made, and which maps may be written over.
MAPS = {
    "a reader is no convolution": (
        JOINED + HALVED + "[route]\nlayers=2\n" + HALVED, set(), {1}
    ),
    "the reader shrinks": (JOINED + HALVED + CONV.format(2), {2}, {1, 2, 3}),
    "the reader is dense": (JOINED + CONV.format(2) + "stride=2\n", set(), {1, 2}),
    "the map is the end": (JOINED, set(), {1}),
    "a sum of what nobody else reads": (CONV.format(4) * 2 + ADDED, set(), {1}),
    "a sum of what is read later": (
        CONV.format(4) * 2 + ADDED + "[route]\nlayers=-1,1\n", set(), set()
    ),
    "a sum of the same map under another name": (
        CONV.format(4) * 2 + "[route]\nlayers=1\n" + ADDED + "[route]\nlayers=-1,1\n",
        set(), set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", MAPS)
def test_torch_makes_no_more_maps_than_it_needs(case: str) -> None:
    text, apart, lent = MAPS[case]
    model = random_model(loads("[net]\nheight=8\nwidth=8\nchannels=3\n" + text)).eval()
    x = random_input(model.network, 2)
    with torch.inference_mode():
        want = [output.numpy() for output in model(torch.from_numpy(x))]
    assert (torch_memory.unjoined(model), torch_memory.overwritable(model)) == (apart, lent)
    assert_close(pytorch.open_model(model, "cpu").compute(x), want)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_torch_packs_weights_once() -> None:
    """As oneDNN wants them for the input's size, which for none it guesses otherwise."""
    script = """if True:
        import numpy as np, torch
        from ghostyolo.network import loads
        from ghostyolo.runtime import pytorch
        options = "[convolutional]\\nfilters={}\\nsize=1\\nactivation=relu\\n"
        text = "[net]\\nheight=52\\nwidth=52\\nchannels=40\\n" + options.format(60)
        text += "[avgpool]\\n" + options.format(960) + options.format(240)
        engine = pytorch.open_model(pytorch.load_model(loads(text), None), "cpu")
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            engine.compute(np.ones((1, 40, 52, 52), np.float32))
    """
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    calls = [line.split(",") for line in done.stdout.splitlines() if ",exec," in line]
    assert sum("convolution" in call for call in calls) == 3
    packed = {"60x40x1x1", "960x60x1x1", "240x960x1x1"}
    assert not [call for call in calls if "reorder" in call and packed & set(call)]


@pytest.mark.parametrize("name", RUNTIMES)
def test_file_gives_what_the_model_gives(name: str, folder: Path) -> None:
    with open_runtime(folder / f"tiny{SUFFIX[name]}", name=name) as runtime:
        assert runtime.class_names == tuple("uvwxyz")
        assert dumps(runtime.network) == dumps(loads(tiny.CFG))
        first = runtime.run(inputs(3))
        kept = [output.copy() for output in first]
        runtime.run(1 - inputs(3))  # which must not write into what was given before
    assert_close(first, kept)
    assert_close(first, expected(folder, inputs(3)))


@pytest.mark.parametrize("name", OF_CFGS)
def test_order_of_memory_changes_nothing(name: str, folder: Path) -> None:
    """Neither pixels beside each other nor planes, nor numbers of another kind."""
    images = inputs(2)
    pixels = np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    with open_runtime(folder / "tiny.cfg", folder / "tiny.weights", name=name) as runtime:
        arranged = runtime.in_memory_order(images)
        np.testing.assert_array_equal(arranged, images)
        again = runtime.in_memory_order(arranged)
        assert np.shares_memory(again, arranged), "it is not copied again"
        want = runtime.run(images)
        for other in (pixels, images.astype(float), images[..., ::-1].copy()[..., ::-1]):
            for a, b in zip(runtime.run(other), want, strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_open_sides_are_closed_by_the_caller(name: str, folder: Path) -> None:
    images = inputs(3, (96, 64))
    with open_runtime(folder / "open.onnx", name=name, size=(96, 64), batch=2) as runtime:
        assert runtime.network.options.size == (96, 64)
        assert_close(runtime.run(images), expected(folder, images))


@pytest.mark.parametrize("name", OF_CFGS)
def test_outputs_are_the_callers_own(name: str, folder: Path) -> None:
    with open_runtime(folder / "tiny.cfg", folder / "tiny.weights", name=name) as runtime:
        first = runtime.run(inputs(1))
        kept = [out.copy() for out in first]
        later = runtime.run(1 - inputs(1))
    for out, was, other in zip(first, kept, later, strict=True):
        np.testing.assert_array_equal(out, was)
        assert not np.array_equal(out, other)
        assert not np.shares_memory(out, other)


def test_fixed_batch_is_filled_up(folder: Path) -> None:
    with open_runtime(folder / "four.onnx", name="onnxruntime", batch=2) as runtime:
        assert_close(runtime.run(inputs(5)), expected(folder, inputs(5)))


@pytest.mark.parametrize("boxes", ["xyxy", "cxcywh"])
def test_file_that_decodes_is_a_detector_too(boxes: str, folder: Path, tmp_path: Path) -> None:
    model = Model(folder / "tiny.cfg", folder / "tiny.weights")
    images = [
        np.random.default_rng(n).integers(0, 255, (40 + 30 * n, 90, 3), np.uint8) for n in (0, 1)
    ]
    want = model.detector(thresh=0.05)(images)
    assert all(map(len, want))
    for name in RUNTIMES:
        path = tmp_path / f"boxes{SUFFIX[name]}"
        export.write(model, path, ExportSettings(boxes=boxes), format_of(path))
        with open_runtime(path, name=name) as runtime:
            for a, b in zip(runtime.detector(thresh=0.05)(images), want, strict=True):
                np.testing.assert_array_equal(a.classes, b.classes)
                np.testing.assert_allclose(a.scores, b.scores, atol=CLOSE)
                np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-3)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", [1, 2])
def test_file_that_suppresses_numbers_its_pictures(
    name: str, batch: int, folder: Path, tmp_path: Path
) -> None:
    model = Model(folder / "tiny.cfg", folder / "tiny.weights")
    settings = ExportSettings(boxes="xyxy", suppression=Suppression(), batch=batch)
    export.write(model, tmp_path / "nms.onnx", settings, "onnx")
    with open_runtime(tmp_path / "nms.onnx", name=name) as runtime:
        (rows,) = runtime.run(inputs(3))
        for picture in range(3):
            (own,) = runtime.run(inputs(3)[picture : picture + 1])
            assert len(own) and not own[:, 0].any()
            assert_close([rows[rows[:, 0] == picture][:, 1:]], [own[:, 1:]])
        with pytest.raises(OptionError, match="suppresses boxes itself; export it without --nms"):
            runtime.detector()


def test_weights_are_left_out_where_none_are_given(folder: Path) -> None:
    outputs = [open_runtime(folder / "tiny.cfg", name=n).run(inputs(1)) for n in OF_CFGS[1:]]
    for other in outputs[1:]:
        assert_close(other, outputs[0])


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "opencv"])
def test_torch_stays_away_from_exported_files(name: str, folder: Path) -> None:
    """And so does whatever else the program does not need."""
    script = (
        "import sys, numpy as np\n"
        "from ghostyolo.inference.choice import open_runtime\n"
        f"with open_runtime({str(folder / 'tiny.onnx')!r}, name={name!r}) as runtime:\n"
        "    found = runtime.detector()([np.zeros((90, 120, 3), np.uint8)])\n"
        "assert len(found[0])\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    modules = set(done.stdout.split())
    others = {"onnxruntime", "openvino"} - {name}
    heavy = {"torch", "matplotlib", "onnx", "yaml", "tqdm", "jinja2", "faster_coco_eval", *others}
    assert not modules & heavy


def refused(folder: Path) -> dict[str, tuple[dict[str, object], str]]:
    cfg, weights = folder / "tiny.cfg", folder / "tiny.weights"
    return {
        "word": ({"source": cfg, "name": "caffe"}, "no runtime 'caffe'; use one of auto, openvino"),
        "reader": (
            {"source": folder / "tiny.onnx", "name": "torch"},
            "torch does not read .onnx files; use openvino or onnxruntime or opencv",
        ),
        "both": (
            {"source": folder / "tiny.onnx", "weights": weights},
            "an exported file holds its weights; leave the weights out",
        ),
        "size": (
            {"source": folder / "tiny.onnx", "size": (96, 96)},
            "its input is 64x64, not 96x96; export it with --dynamic, or leave the size out",
        ),
        "device": (
            {"source": folder / "tiny.onnx", "name": "onnxruntime", "device": "cuda"},
            "onnxruntime computes on the CPU, not on cuda; use torch with the cfg",
        ),
    }


@pytest.mark.parametrize("case", ["word", "reader", "both", "size", "device"])
def test_what_cannot_be_opened_is_refused(case: str, folder: Path) -> None:
    options, message = refused(folder)[case]
    with pytest.raises(OptionError) as caught:
        open_runtime(**options)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_runtime_of_other_files_alone_computes_no_cfg(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = registry.RUNTIMES["torch"]._replace(suffixes=(".other",))
    monkeypatch.setitem(registry.RUNTIMES, "other", other)
    assert "other" not in registry.readers("x.cfg")
    with pytest.raises(OptionError, match=r"^other does not read a cfg; use openvino or"):
        open_runtime(folder / "tiny.cfg", folder / "tiny.weights", name="other")


def test_format_that_no_runtime_reads_is_no_cfg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "EXPORTED_SUFFIXES", (".other",))
    with pytest.raises(OptionError, match=r"x\.other: no runtime here reads \.other files; give "):
        open_runtime("x.other")


def test_missing_program_is_named_with_its_command(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = registry.RUNTIMES["openvino"]._replace(distributions=("no-such-distribution",))
    monkeypatch.setitem(registry.RUNTIMES, "openvino", gone)
    assert installed_versions()["openvino"] is None
    with pytest.raises(OptionError, match=r"openvino is not installed; pip install 'ghostyolo\["):
        open_runtime(folder / "tiny.onnx", name="openvino")
    assert open_runtime(folder / "tiny.onnx").name == "onnxruntime"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "is not an ONNX file"), (b"\x3a\xff\xff", "is not an ONNX file"),
     (b"\x08\x07", "holds no metadata of ghostyolo")],
)  # fmt: skip
def test_file_that_is_none_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        open_runtime(path, name="onnxruntime")
    assert str(caught.value).startswith(str(path))


def test_header_is_what_onnx_reads(folder: Path) -> None:
    onnx = pytest.importorskip("onnx")
    for name in ("tiny", "open", "four"):
        found, model = (
            onnx_metadata.read(folder / f"{name}.onnx"),
            onnx.load(folder / f"{name}.onnx"),
        )
        sides = model.graph.input[0].type.tensor_type.shape.dim
        assert found.input_sides == tuple(side.dim_param or side.dim_value for side in sides)
        stored = {entry.key: entry.value for entry in model.metadata_props}
        assert found.metadata.properties() == stored


def test_input_of_another_shape_is_refused(folder: Path) -> None:
    with (
        open_runtime(folder / "tiny.cfg", folder / "tiny.weights", name="torch") as runtime,
        pytest.raises(OptionError, match="the input is 1x3x32x64, the network takes Nx3x64x64"),
    ):
        runtime.run(inputs(1, (32, 64)))


@pytest.mark.parametrize(
    ("wish", "quota", "count"),
    [("3", "max 100000", 3), ("", "50000 100000", 1), ("", "max 100000", None), ("", "", None)],
)
def test_threads_are_those_that_are_allowed(
    wish: str, quota: str, count: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", wish)
    monkeypatch.setattr(threads, "CGROUP", tmp_path / "cpu.max")
    (tmp_path / "cpu.max").write_text(quota)
    assert threads.default_threads() == (count or len(__import__("os").sched_getaffinity(0)))


def test_openvino_computes_batches_that_it_does_not_compile_as_such(tmp_path: Path) -> None:
    """Without AVX-512 it has no kernel for a 1x1 convolution of 4 channels, joined with the next.

    It joins them where their maps, 25 MB here, are larger than half of the processor's cache.
    """
    pytest.importorskip("openvino")
    layer = "[convolutional]\nsize={}\nfilters={}\ngroups={}\npad=1\nactivation=leaky\n"
    layers = layer.format(1, 4, 1), layer.format(1, 24, 1), layer.format(3, 24, 24)
    model = Model(loads(tiny.CFG.partition("[conv")[0] + "".join(layers)))
    for parameter in model.parameters():
        parameter.data.normal_(generator=torch.manual_seed(0))
    ghostyolo.export(model, tmp_path / "x.onnx", dynamic="batch")
    x = np.random.default_rng(0).random((64, 3, 64, 64), np.float32)
    with open_file(tmp_path / "x.onnx", "openvino", None, len(x), 1, "cpu") as opened:
        (got,) = opened.run(x)
    with torch.inference_mode():
        (want,) = model(torch.from_numpy(x))
    np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-3)


def test_error_of_a_library_is_its_reason_and_says_what_helps() -> None:
    reason = (
        "Exception from src/inference/src/cpp/core.cpp:117:\nException from src/x.cpp:5:\nno room"
    )
    with (
        pytest.raises(DataError, match=r"^x\.xml: OpenVINO: no room; use another --runtime$"),
        library_errors("OpenVINO", "x.xml", RuntimeError),
    ):
        raise RuntimeError(reason)


@pytest.mark.parametrize(
    ("idle", "given", "want"),
    [
        (0.0, {}, "10000"),
        (1.2, {}, "10000"),
        (1.9, {}, None),
        (0.0, {"OMP_WAIT_POLICY": "a"}, None),
    ],
)
def test_threads_wait_asleep_beside_other_programs(
    idle: float, given: dict[str, str], want: str | None, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    """Two processors have done 200 ticks since the last look, `idle` processors nothing."""
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that what is set here is undone
        monkeypatch.delenv(name)
    for name, value in {**given, "OMP_NUM_THREADS": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delitem(threads.sys.modules, "torch")
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: {0, 3}, raising=False)
    monkeypatch.setattr(threads, "STAT", tmp_path / "stat")
    line = "cpu{0} {1} 0 0 {2} 0 0 0 0 0 0\n"

    def write(busy: float, free: float) -> None:
        rows = (line.format(cpu, int(busy), int(free)) for cpu in (" ", 0, 1, 3))
        threads.STAT.write_text("".join(rows) + "intr 1 2\n")

    write(1000, 50)
    monkeypatch.setattr(threads.time, "sleep", lambda _: write(1100 - 50 * idle, 50 + 50 * idle))
    assert threads.share_processors() == (want is not None)
    assert threads.os.environ.get("GOMP_SPINCOUNT") == want
    threads.STAT.unlink()
    assert threads.idle_processors() == float("inf")
