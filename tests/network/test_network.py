"""The cfg language: what is read, what is written, what is refused and where."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ghostyolo.errors import CfgError, Diagnostic, Findings
from ghostyolo.layers.avgpool import Avgpool
from ghostyolo.layers.convolutional import Convolutional
from ghostyolo.layers.route import Route
from ghostyolo.layers.shortcut import Shortcut
from ghostyolo.layers.yolo import Yolo
from ghostyolo.network import IMAGE, Network, dumps, load, loads
from ghostyolo.network.net_options import NetOptions
from support import goldens, published
from support.cases import ERRORS, GENERATED, KINDS

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"


@pytest.mark.parametrize("path", ERRORS, ids=lambda path: path.stem)
def test_mistake_is_named_at_its_line(path: Path) -> None:
    expected = path.read_text().splitlines()[0].removeprefix("# expect: ")
    with pytest.raises(CfgError) as caught:
        load(path)
    assert str(caught.value) == f"{path}:{expected}"


@pytest.mark.parametrize("path", GENERATED, ids=lambda path: path.stem)
def test_generated_cfg_round_trip(path: Path) -> None:
    network = load(path, findings=Findings(strict=True))
    assert loads(dumps(network)) == network
    assert dumps(network) == path.read_text()


@pytest.mark.parametrize("path", [*KINDS, *goldens.CFGS], ids=lambda path: path.stem)
def test_test_cfg_round_trip(path: Path) -> None:
    network = load(path, findings=Findings(quiet=True, compat=True))
    assert loads(dumps(network)) == network


def test_published_cfgs_round_trip() -> None:
    for path in published.CFGS.all("cfg/*.cfg"):
        network = load(path, findings=Findings(quiet=True))
        assert loads(dumps(network)) == network, path


def test_blanks_comments_and_line_ends() -> None:
    plain = loads(NET + "[convolutional]\nfilters=8\nactivation=leaky\n")
    messy = loads(
        "; a comment\n\n [ net ] \r\nwidth = 32\nhei ght=32\n\tchannels=3\n#x\n"
        "[conv]\n filters = 8 \nactivation= lea ky"
    )
    assert messy == plain


def test_absolute_and_relative_references_are_equal() -> None:
    conv = "[convolutional]\nfilters=4\nactivation=linear\n"
    relative = loads(NET + conv * 3 + "[route]\nlayers=-1,-3\n")
    absolute = loads(NET + conv * 3 + "[route]\nlayers=2,0\n")
    assert relative == absolute
    assert relative[3].inputs == (2, 0)


def test_first_duplicate_counts(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        network = loads(NET + "[convolutional]\nfilters=8\nfilters=16\n", path="x.cfg")
    assert network[0].shape.c == 8
    assert (
        "x.cfg:7: [convolutional] duplicate key 'filters', the one in line 6 counts" in caplog.text
    )


def test_trailing_comment_behind_a_number_warns(caplog: pytest.LogCaptureFixture) -> None:
    network = loads(NET + "[convolutional]\nfilters=8 # eight\n", path="x.cfg")
    assert network[0].shape.c == 8
    assert "x.cfg:6: [convolutional] '#eight' after the value of 'filters'" in caplog.text


@pytest.mark.parametrize(
    "line, part",
    [
        ("[route]\nlayers=-1 #,0", "-1#"),
        ("[route]\nlayers=-1 # this, that", "-1#this"),
        ("[yolo]\nclasses=1\nnum=3\nmask=0 #,1,2\nanchors=1,2,3,4,5,6", "0#"),
        ("[yolo]\nclasses=1\nnum=3\nmask=0\nanchors=1,2,3,4,5,6 # w, h", "6#w"),
    ],
)
def test_comment_in_a_list_is_refused(line: str, part: str) -> None:
    """Darknet goes on to read numbers behind each comma."""
    with pytest.raises(CfgError, match=f"'{part}' is not a"):
        loads(f"{NET}[convolutional]\nfilters=18\nactivation=linear\n{line}\n")


def test_unknown_key_of_another_kind_warns() -> None:
    findings: list[Diagnostic] = []
    loads(NET + "[convolutional]\nfilters=8\nmax_epochs=3\n", findings=Findings(findings.append))
    assert [(f.severity, f.span.line if f.span else 0) for f in findings] == [("warning", 7)]
    with pytest.raises(CfgError, match="max_epochs"):
        loads(NET + "[convolutional]\nmax_epochs=3\n", findings=Findings(strict=True))


def test_findings_are_collected_past_the_first() -> None:
    findings: list[Diagnostic] = []
    text = NET + "[convolutional]\nfilter=8\nstride=x\nactivation=leeky\n"
    loads(text, findings=Findings(findings.append))
    lines = [(f.severity, f.span.line if f.span else 0) for f in findings]
    assert lines == [("error", 6), ("error", 7), ("error", 8)]


def test_compat_reads_mistakes_as_darknet_does() -> None:
    """Values as in the reference: atoi and atof, unknown activations as ReLU."""
    findings: list[Diagnostic] = []
    text = NET + "[convolutional]\nfilters=8.7\nstride=x\npad\nactivation=leaky # slope\nfilter=3\n"
    text = text.replace("stride=x\n", "padding=1x\n")
    network = loads(text, findings=Findings(findings.append, compat=True))
    layer = network[0].layer
    assert isinstance(layer, Convolutional)
    assert (layer.filters, layer.padding, layer.pad, layer.activation) == (8, 1, 0, "relu")
    assert {f.severity for f in findings} == {"warning"}
    assert len(findings) == 5


def test_compat_reads_references_as_darknet_does() -> None:
    """By atoi, and what stands behind a comma counts even where it is empty or a comment."""
    findings: list[Diagnostic] = []
    text = NET + "[convolutional]\n" * 2 + "[route]\nlayers=-1x,\n[route]\nlayers=-2#a,b\n"
    network = loads(text, findings=Findings(findings.append, compat=True))
    assert [node.inputs for node in network][2:] == [(1, 0), (1, 0)]
    assert [f.severity for f in findings] == ["warning"] * 4


def test_missing_anchors_are_filled_as_darknet_does() -> None:
    findings: list[Diagnostic] = []
    text = NET + "[convolutional]\nfilters=12\n[yolo]\nclasses=1\nnum=2\nanchors=3,4,5\n"
    head = loads(text, findings=Findings(findings.append))[1].layer
    assert isinstance(head, Yolo)
    assert head.all_anchors == ((3, 4), (5, 0.5))
    assert [(item.severity, item.rule) for item in findings] == [("warning", "anchors-count")]


@pytest.mark.parametrize(
    ("mask", "num", "anchors", "hint"),
    [("0,1,2", 6, "1,2,3,4,5,6", "set num=3, or give 12"), ("0,1", 2, "1,2,3", "missing side")],
)
def test_warning_names_the_likely_num(mask: str, num: int, anchors: str, hint: str) -> None:
    findings: list[Diagnostic] = []
    filters = 6 * len(mask.split(","))
    text = f"{NET}[convolutional]\nfilters={filters}\n[yolo]\nclasses=1\nmask={mask}\n"
    loads(f"{text}num={num}\nanchors={anchors}\n", findings=Findings(findings.append))
    assert [item.severity for item in findings] == ["warning"]
    assert hint in findings[0].hint


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("steps=16000d,18000", "write steps=16000,18000"),
        ("scales=.1,", "write scales=.1"),
        ("scales=.1,,.2", "write scales=.1,.2"),
        ("batch=many", "write a whole number"),
    ],
)
def test_hint_keeps_the_numbers_that_are_right(line: str, hint: str) -> None:
    with pytest.raises(CfgError) as caught:
        loads(f"[net]\nwidth=8\nheight=8\nchannels=3\n{line}\n[avgpool]\n")
    assert caught.value.diagnostic.hint == hint


@pytest.mark.parametrize("text", ["[unknown]\n", "[shortcut]\nfrom=0\nweights_type=per_pixel\n"])
def test_compat_stops_where_darknet_does(text: str) -> None:
    with pytest.raises(CfgError, match="unknown"):
        loads(NET + "[convolutional]\n" * 2 + text, findings=Findings(compat=True))


def test_batch_that_subdivisions_do_not_divide_warns(caplog: pytest.LogCaptureFixture) -> None:
    network = loads(NET.replace("[net]", "[net]\nbatch=160\nsubdivisions=64"), path="x.cfg")
    assert network.options.mini_batch == 2
    assert "Darknet trains with 128 images" in caplog.text


def test_add_puts_a_route_before_a_branch() -> None:
    network = Network(NetOptions(width=8, height=8, channels=3))
    stem = network.add(Convolutional(filters=4))
    main = network.add(Convolutional(filters=4))
    side = network.add(Convolutional(filters=4), stem)
    total = network.add(Shortcut(), side, main)
    kinds = [node.layer.kind for node in network]
    assert kinds == ["convolutional", "convolutional", "route", "convolutional", "shortcut"]
    assert network[2].inputs == (stem.index,)
    assert side.inputs == (2,)
    assert total.inputs == (3, main.index)
    assert "from=-3" in dumps(network)


def test_add_reads_the_image_first() -> None:
    network = Network(NetOptions(width=8, height=8, channels=3))
    assert network.add(Avgpool(), IMAGE).inputs == (IMAGE,)
    with pytest.raises(CfgError, match="only the first layer reads the image"):
        network.add(Route(), IMAGE)


def test_add_refuses_what_does_not_stand_above() -> None:
    network = Network(NetOptions(width=8, height=8, channels=3))
    network.add(Avgpool())
    with pytest.raises(CfgError, match="refers to layer 5"):
        network.add(Route(), 5)


def test_comments_survive_and_shapes_are_derived() -> None:
    text = "# head of file\n" + NET + "\n# first -> 9x9x9\n# still first\n[avgpool]\n"
    network = loads(text)
    assert network.comment == "head of file"
    assert network[0].name == "first\nstill first"
    assert dumps(network).endswith("# first\n# still first -> 3x1x1\n[avgpool]\n")


def test_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CfgError, match=r"none\.cfg: cannot read it: No such file"):
        load(tmp_path / "none.cfg")


def test_parsing_is_linear() -> None:
    """Ten thousand layers load; the recursion limit and quadratic scans would show here."""
    text = NET + "[convolutional]\nfilters=4\n" * 5000 + "[shortcut]\nfrom=-2\n" * 5000
    assert len(loads(text)) == 10_000
