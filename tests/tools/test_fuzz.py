"""A short run of the reader fuzzer; `tools/fuzz.py --cfgs 100000` is the long one."""

from __future__ import annotations

import contextlib
import importlib
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from ghostyolo.data import Sample
from ghostyolo.errors import CfgError
from ghostyolo.layers import KINDS as KINDS_BY_NAME
from ghostyolo.network import load, loads
from support import ROOT
from support.cases import ERRORS, KINDS

NET = "[net]\nwidth=32\nheight=32\nchannels=3\n"


@pytest.fixture
def fuzz(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Yield the tool; without logging, as names that are not UTF-8 cannot be reported."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    logging.disable()
    yield importlib.import_module("fuzz")
    logging.disable(logging.NOTSET)


def test_mutated_cfgs_are_read_or_refused(fuzz: ModuleType, tmp_path: Path) -> None:
    ends = fuzz.fuzz_cfgs(200, 7, KINDS + ERRORS, tmp_path)
    assert set(ends) == {"read", "refused"}


def test_mutated_weights_are_read_or_refused(fuzz: ModuleType, tmp_path: Path) -> None:
    assert set(fuzz.fuzz_weights(60, 7, tmp_path)) == {"read", "refused"}


def test_mutated_files_of_a_run_are_refused_or_unchanged(fuzz: ModuleType, tmp_path: Path) -> None:
    found = importlib.import_module("fuzz_runs").fuzz_runs(60, 7, tmp_path)
    assert found["refused"] and set(found) <= {"read", "refused"}


def test_mutated_labels_are_read_or_refused(fuzz: ModuleType, tmp_path: Path) -> None:
    """Of each layout; the sound data sets are read whole."""
    labels = fuzz.fuzz_labels
    for layout, targets in labels.LAYOUTS.items():
        for target in targets(tmp_path / "sound" / layout):
            labels.check(target, "train")
    assert set(labels.fuzz_labels(40, 7, tmp_path)) == {"read", "refused"}


def test_the_fuzzer_sees_wrong_boxes(fuzz: ModuleType) -> None:
    labels = fuzz.fuzz_labels
    own = [[*box] for _, *box in labels.BOXES[labels.SOUND]]
    assert not labels.other_boxes(np.array(own, float))
    assert labels.other_boxes(np.array([*own, [0, 0, 5, 5]], float))
    faults = {
        (0, 0, 65, 9): "outside",
        (0, 0, np.nan, 9): "not finite",
        (4, 0, 4, 9): "without area",
    }
    for box, told in faults.items():
        boxes = np.array([box], np.float32)
        sample = Sample("a.jpg", boxes, np.zeros(1, int), np.zeros(1, bool), (48, 64), "a")
        assert told in labels.fault_of(sample)


def test_the_fuzzer_sees_a_fault(fuzz: ModuleType) -> None:
    def fault() -> None:
        raise KeyError("pad")

    assert "KeyError in test_fuzz.py" in fuzz.problem(fault, CfgError)
    assert fuzz.problem(lambda: load("none.cfg"), CfgError) == "refused"


def test_every_mutation_changes_something(fuzz: ModuleType) -> None:
    data = KINDS[0].read_bytes()
    for mutation in set(fuzz.MUTATIONS):
        assert any(mutation(random.Random(seed), data) != data for seed in range(9)), mutation


@pytest.mark.parametrize(
    "section, message",
    [
        ("[convolutional]\nfilters=" + "9" * 5000, r"filters=9+\.\.\. is not a number of 32 bits"),
        ("[convolutional]\nfilters=2147483648", "not a number of 32 bits"),
        ("[convolutional]\nfilters=2147483647", "more than 2,147,483,648"),
        ("[convolutional]\nsize=99999\npad=1", "more than 268,435,456"),
        ("[dropout]\nprobability=1e999", "probability=1e999 is beyond the largest number"),
        ("[dropout]\nprobability=nan", "'nan' is not a number"),
        ("[yolo]\nnum=99999999", "num=99999999 is above 1024"),
        ("[avgpool]\n[route]\nlayers=-" + "1" * 5000, "is not a layer's index"),
        ("[avgpool]\n" + "[route]\nlayers=-1,-1\n" * 40, "gives .* values, more than"),
        ("[upsample]\nstride=2\n" * 40, "gives .* values, more than"),
        ("[convolutional]\nfilters=\u0663", "is not a whole number"),
    ],
)
def test_what_asks_for_all_memory_is_refused(section: str, message: str) -> None:
    with pytest.raises(CfgError, match=message):
        loads(NET + section + "\n")


@pytest.mark.parametrize("value", ["0", "-1", "3", "-2147483648", "2147483647"])
def test_any_number_in_any_key_is_read_or_refused(value: str) -> None:
    above = NET + "[convolutional]\nfilters=8\nactivation=linear\n[avgpool]\n"
    for name, kind in KINDS_BY_NAME.items():
        refs = "".join(f"{key}=-1\n" for key in kind.refs)
        for key, field in kind.keys().items():
            if field.type != "str":
                for more in ("", "reverse=1\nantialiasing=1\n"):
                    with contextlib.suppress(CfgError):
                        loads(f"{above}[{name}]\n{refs}{key}={value}\n{more}")
