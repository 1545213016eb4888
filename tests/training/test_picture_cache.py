"""What is kept of decoded pictures, as the option --cache of train says."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ghostyolo.augment.batches import Batches
from ghostyolo.distributed import ALONE
from ghostyolo.errors import OptionError
from ghostyolo.training import picture_cache
from ghostyolo.training.config import TrainConfig
from ghostyolo.training.options import CACHES
from support import runs, tiny


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.pictures(tmp_path_factory.mktemp("cache") / "shapes")


@pytest.fixture
def config(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainConfig:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return runs.resumable(data, tmp_path / "run", "darknet")


def test_the_pictures_are_the_same_whatever_is_kept(
    config: TrainConfig, caplog: pytest.LogCaptureFixture
) -> None:
    found = {}
    for cache in CACHES:
        object.__setattr__(config, "cache", cache)
        options = picture_cache.chosen(config, ALONE)
        batches = Batches(config.train, config.augmentation, 4, config.sizes(), **options)
        found[cache] = [batches.batch_at(i)[0] for i in range(3)]
    for images in found.values():
        assert all(x.equal(y) for x, y in zip(images, found["none"], strict=True))
    ram, disk = caplog.messages
    count = len(config.train)
    assert ram == f"--cache ram: {count} of {count} pictures are kept, 222 kB"
    told = f"{count} decoded pictures, 222 kB, kept for later runs until you delete them"
    assert disk.endswith(f".pictures: {told}")


def test_memory_for_a_part_keeps_a_part_and_memory_for_none_is_an_error(
    config: TrainConfig, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    object.__setattr__(config, "cache", "ram")
    caplog.set_level(logging.WARNING)
    for free, kept in ((250_000, 3), (100, 0)):
        monkeypatch.setattr("ghostyolo.model.out_of_memory.free", lambda free=free: free)
        if not kept:
            with pytest.raises(OptionError, match=r"--cache ram: 0 kB of memory are free"):
                picture_cache.chosen(config, ALONE)
            continue
        batches = Batches(config.train, None, 4, (64, 64), **picture_cache.chosen(config, ALONE))
        assert len(batches._maker.cache.kept) == kept
        assert f"{kept} of {len(config.train)} pictures are kept" in caplog.text
        assert "the others do not fit into half of the free memory" in caplog.text
