"""The script that runs a table of trainings."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from support import ROOT, tiny

PLAN = {
    "settings": {"default": {}, "batch": {"train": "--batch 3"}},
    "seeds": [0],
    "gencfg": "--width 0.1 --size 64x64 --neck-width 16",
    "train": "--epochs 1",
}


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    data = tiny.pictures(tmp_path / "shapes")
    (tmp_path / "plan.yaml").write_text(
        yaml.safe_dump({"sets": {"shapes": str(data)}, **PLAN}, sort_keys=False)
    )
    return tmp_path / "plan.yaml"


def experiments(plan: Path) -> subprocess.CompletedProcess[str]:
    words = [str(ROOT / "tools/experiments.py"), str(plan), "--out", str(plan.parent / "out")]
    return subprocess.run([sys.executable, *words], capture_output=True, text=True)


def test_a_plan_is_run_once(plan: Path) -> None:
    done = experiments(plan)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("shapes-0: AP") == 2
    with open(plan.parent / "out/table.csv") as file:
        rows = {row["setting"]: row for row in csv.DictReader(file)}
    assert {row["train"] for row in rows.values()} == {"--epochs 1", "--epochs 1 --batch 3"}
    again = experiments(plan)
    assert again.returncode == 0
    assert again.stdout.splitlines() == done.stdout.splitlines()[-len(again.stdout.splitlines()) :]
    told = [line.split(" | ") for line in again.stdout.splitlines()]
    assert [cells[0] for cells in told[2:4]] == ["| default", "| batch"]
    scores = [float(rows["batch"][name]) for name in ("AP", "AP50", "AP75")]
    assert told[3][2] == " / ".join(f"{score:.3f}" for score in scores)
    assert told[3][-1].endswith("(1) |")


def test_a_run_that_fails_is_named(plan: Path) -> None:
    content = yaml.safe_load(plan.read_text())
    content["settings"] = {"broken": {"train": "--batch 0"}}
    plan.write_text(yaml.safe_dump(content))
    done = experiments(plan)
    assert done.returncode == 1
    assert "failed: broken-shapes-0, see " in done.stdout
    assert "'0' is not a whole number" in (plan.parent / "out/broken-shapes-0.log").read_text()
