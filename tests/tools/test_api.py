"""The reference of the public names."""

from __future__ import annotations

import importlib
import re
import warnings
from types import ModuleType

import pytest

import ghostyolo
from support import ROOT

pytest.importorskip("pdoc")


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return importlib.import_module("api")


def test_reference_has_every_public_name_with_types_and_example(api: ModuleType) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # pdoc warns of types that it cannot resolve
        page = api.page()
    sections = dict(re.findall(r'<section id="(\w+)">(.+?)</section>', page, re.DOTALL))
    assert list(sections) == ghostyolo.__all__
    assert not [name for name, section in sections.items() if "&gt;&gt;&gt;" not in section]
    assert "<strong>epochs</strong>: passes over the data set" in sections["train"]


def test_described_parameters_become_a_list(api: ModuleType) -> None:
    text = "Do it.\n\nsize: (h, w). low, high:\nlimits, see: there. Raises `E`."
    want = "Do it.\n- **size**: (h, w).\n- **low, high**: limits, see: there.\n\nRaises `E`."
    assert api.as_markdown(text, ["size", "low", "high"]) == want
