"""A few pictures of a data set for a first try."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import ghostyolo
from ghostyolo import cli
from ghostyolo.data.limit import limited
from ghostyolo.errors import OptionError
from ghostyolo.training.observers import Observer
from support import tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("limit"))


def paths(data: ghostyolo.Dataset) -> list[str]:
    return [sample.path for sample in data.samples]


def test_the_same_pictures_are_drawn_each_time(
    data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = ghostyolo.open_dataset(data, "train")
    drawn = {limit: paths(limited(whole, limit)) for limit in range(1, len(whole) + 1)}
    for limit, few in drawn.items():
        assert len(few) == len(set(few)) == limit
        assert few == [path for path in paths(whole) if path in few], "in their order"
        assert set(few) >= set(drawn.get(limit - 1, ())), "a larger limit adds to them"
    assert any(few != paths(whole)[: len(few)] for few in drawn.values())
    assert caplog.messages[1] == f"{data} train: limited to 2 of {len(whole)} pictures"
    assert limited(whole, None) is limited(whole, 1000) is whole
    with pytest.raises(OptionError, match="limit=0; give a whole number of 1 or more"):
        limited(whole, 0)


def test_scores_of_a_few_pictures_say_so(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["val", str(tiny.write(tmp_path)), str(tiny.eager_weights(tmp_path)), str(data)]
    words += ["--runtime", "torch", "--limit", "2"]
    assert cli.main([*words, "--report", str(tmp_path / "x.html")]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[-2] == "these scores are limited to 2 of 3 pictures"
    assert "limited to 2 of 3 pictures" in (tmp_path / "x.html").read_text()
    assert cli.main([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["limited"] == "limited to 2 of 3 pictures"
    assert cli.main(["data", str(data), "--split", "train", "--limit", "4", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["splits"][0]["pictures"] == 4


def test_run_is_resumed_with_its_own_limit(data: Path, tmp_path: Path) -> None:
    cfg, options = tiny.write(tmp_path), {"epochs": 1, "workers": 0, "folder": tmp_path / "run"}
    seen: list[tuple[int, int]] = []

    class Watching(Observer):
        def validating(self, done: int, total: int) -> None:
            seen.append((done, total))

    run = ghostyolo.train(cfg, data, limit=2, observers=[Watching()], **options)
    assert seen == [(2, 2), (2, 2)]  # at the end of the run, and of its best weights for the page
    assert run.state.iteration == 1
    assert len(run.validation.dataset) == 2
    assert "limited to 2 pictures of each split" in (tmp_path / "run/report.html").read_text()
    for limit, told in ((None, "has --limit 2, not none"), (3, "has --limit 2, not 3")):
        with pytest.raises(OptionError, match=f"{told}; resume with --limit 2"):
            ghostyolo.train(cfg, data, limit=limit, resume=True, **options)
    ghostyolo.train(cfg, data, limit=2, resume=True, **options)
