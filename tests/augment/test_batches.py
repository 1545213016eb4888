"""Batches: a pure function of seed and iteration, whatever prepares them."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ghostyolo.augment.batches import Batches
from ghostyolo.augment.cache import Cache
from ghostyolo.augment.detection import NONE, Augmentation
from ghostyolo.data.dataset import Dataset, Sample
from ghostyolo.errors import DataError, GhostyoloError, OptionError
from support import runs

SETTINGS = Augmentation(jitter=0.2, resize=1.3, flip=True, hue=0.1, saturation=1.5, exposure=1.5)
MIXED = replace(SETTINGS, mosaic=0.5, mixup=0.5, blur=3, gaussian_noise=5)
SIZE = (32, 48)


@pytest.fixture
def dataset(tmp_path):
    """Seven pictures; picture i is a plane of grey 30 * i with i boxes of class i, one ignored."""
    samples = []
    for i in range(7):
        path = str(tmp_path / f"{i}.png")
        cv2.imwrite(path, np.full((24, 36, 3), 30 * i, np.uint8))
        boxes = np.tile(np.array([[8, 6, 28, 18]], np.float32), (i, 1))
        ignore = np.arange(i) == 1
        samples.append(Sample(path, boxes, np.full(i, i), ignore, (24, 36), i))
    return Dataset(tuple("abcdefg"), tuple(samples), "train", str(tmp_path))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def grey(batch):
    """Return which picture each image of a batch shows."""
    return (batch[0].mean((1, 2, 3)) * 255 / 30).round().int().tolist()


def test_a_batch_has_the_shapes_and_units_of_the_contract(dataset):
    images, truths = Batches(dataset, NONE, 7, SIZE).batch_at(0)
    assert (images.shape, images.dtype) == ((7, 3, *SIZE), torch.float32)
    assert images.is_contiguous() and images.min() >= 0 and images.max() <= 1
    assert (truths.shape[1], truths.dtype) == (6, torch.float32)
    shown = grey((images, truths))
    for i, cls in enumerate(shown):
        own = truths[truths[:, 0] == i]
        assert len(own) == (cls if cls < 2 else cls - 1) and (own[:, 5] == cls).all()
    box = torch.tensor([0.5, 0.5, 20 / 36, 0.5])
    torch.testing.assert_close(truths[:, 1:5], box.expand(len(truths), 4))


def test_a_batch_depends_on_seed_and_iteration_alone(dataset):
    first = Batches(dataset, SETTINGS, 3, SIZE, seed=5)
    straight = [first.batch_at(i) for i in range(12)]
    again = Batches(dataset, SETTINGS, 3, SIZE, seed=5, cache_bytes=0)
    assert all(same(again.batch_at(i), straight[i]) for i in reversed(range(12)))
    other = Batches(dataset, SETTINGS, 3, SIZE, seed=6)
    assert not all(same(other.batch_at(i), straight[i]) for i in range(3))


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_order_and_content_do_not_depend_on_the_workers(dataset, workers):
    alone = Batches(dataset, MIXED, 3, SIZE, seed=5)
    batches = list(Batches(dataset, MIXED, 3, SIZE, 5, workers).iterate(2, 13))
    assert len(batches) == 11
    assert all(same(batch, alone.batch_at(i)) for i, batch in enumerate(batches, 2))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_partners_from_recent_batches_do_not_depend_on_workers_memory_or_a_restart(
    dataset, workers
):
    first = Batches(dataset, MIXED, 3, SIZE, 5, recent=4)
    straight = [first.batch_at(i) for i in range(13)]
    assert not same(straight[9], Batches(dataset, MIXED, 3, SIZE, 5).batch_at(9))
    for memory in ({}, {"window_bytes": 0}, {"window_bytes": 3 * 3000}, {"cache_bytes": 9000}):
        batches = Batches(dataset, MIXED, 3, SIZE, 5, workers, recent=4, **memory)
        assert all(map(same, batches.iterate(0, 6), straight))
        assert all(map(same, batches.iterate(2, 13), straight[2:]))


@pytest.mark.parametrize("iteration", [0, 2, 9])
def test_partners_are_the_first_pictures_of_recent_batches_at_the_same_place(dataset, iteration):
    batches = Batches(dataset, Augmentation(mosaic=1), 3, SIZE, recent=4)
    firsts = [grey(Batches(dataset, NONE, 3, SIZE).batch_at(i)) for i in range(12)]
    around = [i for i in range(max(0, iteration - 4), max(iteration, 5)) if i != iteration]
    for place, image in enumerate(batches.batch_at(iteration)[0]):
        shown = set((image * 255 / 30).round().int().unique().tolist())
        assert firsts[iteration][place] in shown
        assert shown <= {firsts[iteration][place], *(firsts[i][place] for i in around)}


def test_recent_pictures_are_decoded_once_and_a_large_set_uses_them(dataset, monkeypatch):
    read = []
    plane = np.zeros((24, 36, 3), np.uint8)
    source = "ghostyolo.data.dataset.inspect_image"
    monkeypatch.setattr(source, lambda path, _: (read.append(path) or plane, (24, 36), []))
    monkeypatch.setattr("ghostyolo.augment.batches.CACHE_BYTES", 7 * plane.nbytes - 1)
    assert Batches(dataset, NONE, 7, SIZE)._maker.recent == 147  # batches of 7 make 1,024 pictures
    batches = Batches(dataset, Augmentation(mosaic=1), 7, SIZE, recent=4)
    for i in range(20):
        batches.batch_at(i)
    assert len(read) <= 20 * 7
    monkeypatch.undo()
    assert Batches(dataset, NONE, 7, SIZE)._maker.recent == 0


def test_every_picture_comes_once_an_epoch_in_changing_order(dataset):
    batches = Batches(dataset, NONE, 3, SIZE)
    shown = [cls for i in range(7) for cls in grey(batches.batch_at(i))]
    epochs = [shown[start : start + 7] for start in (0, 7, 14)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_one_batch_may_hold_several_epochs(dataset):
    shown = grey(Batches(dataset, NONE, 16, SIZE).batch_at(0))
    assert sorted(shown[:7]) == sorted(shown[7:14]) == list(range(7))


def test_the_size_may_follow_the_iteration(dataset):
    batches = Batches(dataset, NONE, 2, lambda i: (32, 32) if i < 3 else (64, 32), workers=2)
    sizes = [tuple(images.shape[2:]) for images, _ in batches.iterate(0, 5)]
    assert sizes == [(32, 32)] * 3 + [(64, 32)] * 2


def test_the_settings_may_follow_the_iteration(dataset):
    batches = Batches(dataset, lambda i: MIXED if i < 2 else NONE, 3, SIZE)
    for i, settings in ((1, MIXED), (2, NONE)):
        assert same(batches.batch_at(i), Batches(dataset, settings, 3, SIZE).batch_at(i))


def test_mosaics_show_pictures_of_the_data_set_with_their_boxes(dataset):
    images, truths = Batches(dataset, Augmentation(mosaic=1), 40, SIZE).batch_at(0)
    shown = [{*np.unique((image * 255 / 30).round()).astype(int)} for image in images]
    assert {len(greys) for greys in shown} >= {3, 4} and set.union(*shown) == set(range(7))
    for slot, greys in enumerate(shown):
        assert {*truths[truths[:, 0] == slot][:, 5].int().tolist()} <= greys


def test_only_ignored_boxes_and_empty_batches_have_no_truths(dataset):
    empty = Dataset(dataset.names, dataset.samples[:1], "train", "x")
    _, truths = Batches(empty, SETTINGS, 2, SIZE).batch_at(0)
    assert truths.shape == (0, 6) and truths.dtype == torch.float32


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_picture_is_replaced_by_the_next_and_told_once(dataset, workers, caplog):
    with open(dataset.samples[3].path, "wb") as file:
        file.write(b"no picture")
    batches = list(Batches(dataset, NONE, 7, SIZE, workers=workers).iterate(0, 4))
    (told,) = caplog.messages
    assert "3.png: not a picture" in told and dataset.defects == {"unreadable picture": 1}
    for batch in batches:
        assert sorted(grey(batch)) == [0, 1, 2, 4, 4, 5, 6]


def test_a_label_with_the_wrong_size_is_told(dataset, caplog):
    cv2.imwrite(dataset.samples[2].path, np.full((48, 36, 3), 60, np.uint8))
    _, truths = Batches(dataset, NONE, 7, SIZE).batch_at(0)
    assert "36x48 pixels, but its label says 36x24" in caplog.text
    torch.testing.assert_close(truths[truths[:, 5] == 2][0, 2], torch.tensor(0.25))


def test_boxes_beyond_a_picture_of_another_size_are_not_learned(dataset, caplog):
    sample = dataset.samples[2]
    boxes = np.array([[2, 2, 30, 20], [60, 60, 90, 90]], np.float32)
    wrong = replace(sample, boxes_xyxy_px=boxes, ignore=np.zeros(2, bool), classes=np.arange(2))
    wrong = Dataset(dataset.names, (replace(wrong, size=(100, 100)),), "train", "x")
    settings = Augmentation(jitter=0.4, resize=0.25, mosaic=0.5)
    _, truths = Batches(wrong, settings, 40, SIZE).batch_at(0)
    assert "36x24 pixels, but its label says 100x100" in caplog.text
    assert set(truths[:, 5].tolist()) == {0}


def test_without_one_readable_picture_it_stops(dataset):
    for sample in dataset.samples:
        with open(sample.path, "wb"):
            pass
    with pytest.raises(DataError, match="no picture can be read"):
        Batches(dataset, NONE, 1, SIZE).batch_at(0)


def test_leaving_early_ends_the_workers(dataset):
    before = signal.getsignal(signal.SIGCHLD)
    batches = Batches(dataset, SETTINGS, 2, SIZE, workers=2).iterate(0, 10**9)
    next(batches)
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert not multiprocessing.active_children() and signal.getsignal(signal.SIGCHLD) is before


def test_the_cache_keeps_what_fits_and_spares_the_disk(dataset, monkeypatch):
    read = []
    source = "ghostyolo.data.dataset.inspect_image"
    plane = np.zeros((24, 36, 3), np.uint8)
    monkeypatch.setattr(source, lambda path, _: (read.append(path) or plane, (24, 36), []))
    for room, expected in ((0, 21), ((plane.nbytes + 127) // 64 * 64 * 3, 7 + 4 + 4), (2**20, 7)):
        read.clear()
        batches = Batches(dataset, NONE, 7, SIZE, cache_bytes=room)
        for i in range(3):
            batches.batch_at(i)
        assert len(read) == expected


def test_what_is_made_of_a_picture_that_is_replaced_meanwhile_is_made_again(dataset):
    cache, made = Cache(dataset, 0, recent=1), []
    cache.lending(lambda: cache.read(3))

    def make():
        index, image = cache.read(3)
        if not made:
            cache.window.put(0, 5, np.zeros_like(image))  # as another process does
        made.append((index, int(image.max())))
        return made[-1]

    assert cache.lending(make) == (3, 90) and made == [(3, 0), (3, 90)]
    assert cache.lending(lambda: cache.read(3)[0]) == 3 and len(made) == 2


def test_forked_workers_share_what_one_of_them_decoded(dataset):
    batches = Batches(dataset, NONE, 7, SIZE, workers=1)
    expected = list(batches.iterate(0, 1))
    for sample in dataset.samples:
        Path(sample.path).unlink()
    assert same(batches.batch_at(0), expected[0]) and not dataset.defects


def test_what_a_worker_holds_can_be_sent_to_a_process_that_is_not_forked(dataset):
    batches = Batches(dataset, lambda i: MIXED, 3, lambda i: SIZE, workers=2, cache_bytes=20_000)
    maker = pickle.loads(pickle.dumps(batches._maker))
    assert maker.cache.room == 10_000 and len(maker.cache.kept) == 3
    task = pickle.loads(pickle.dumps(batches._task(4)))
    assert same((maker[task].images,), batches.batch_at(4)[:1])


@pytest.mark.parametrize("recent", [0, 4])
def test_shards_together_are_the_batch_of_one_process(dataset, recent):
    whole = Batches(dataset, MIXED, 6, SIZE, recent=recent).batch_at(5)
    parts = [
        Batches(dataset, MIXED, 6, SIZE, recent=recent, shard=(r, 3)).batch_at(5) for r in range(3)
    ]
    assert torch.equal(torch.cat([images for images, _ in parts]), whole[0])
    for rank, (_, truths) in enumerate(parts):
        truths[:, 0] += 2 * rank
    assert torch.equal(torch.cat([truths for _, truths in parts]), whole[1])


def test_levels_are_what_is_divided_by_255(dataset):
    levels, truths = Batches(dataset, MIXED, 3, SIZE, levels=True).batch_at(0)
    assert levels.dtype == torch.uint8
    assert same((levels / 255, truths), Batches(dataset, MIXED, 3, SIZE).batch_at(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_preparing_leaves_the_global_chance_alone(dataset, workers):
    before = torch.get_rng_state()
    list(Batches(dataset, MIXED, 2, SIZE, workers=workers).iterate(0, 2))
    assert torch.equal(torch.get_rng_state(), before)


def test_workers_start_in_a_process_whose_threads_have_worked(dataset):
    threads = torch.get_num_threads(), cv2.getNumThreads()
    torch.set_num_threads(2)
    cv2.setNumThreads(2)
    try:
        torch.rand(500, 500) @ torch.rand(500, 500)
        cv2.GaussianBlur(np.zeros((999, 999, 3), np.uint8), (9, 9), 0)
        batches = list(Batches(dataset, MIXED, 3, SIZE, workers=2).iterate(0, 6))
    finally:
        torch.set_num_threads(threads[0])
        cv2.setNumThreads(threads[1])
    alone = Batches(dataset, MIXED, 3, SIZE)
    assert all(same(batch, alone.batch_at(i)) for i, batch in enumerate(batches))


def test_a_killed_worker_is_an_error_and_no_hang(dataset):
    batches = Batches(dataset, NONE, 2, SIZE, workers=2).iterate(0, 10**9)
    next(batches)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    with pytest.raises(GhostyoloError, match=r"worker .* was killed; if memory ran out, use fewer"):
        for _ in batches:
            pass
    assert not multiprocessing.active_children()


def test_an_error_of_a_worker_is_told_as_without_one(dataset):
    for sample in dataset.samples:
        Path(sample.path).write_bytes(b"")
    with pytest.raises(DataError, match=r"no picture can be read; check the files$"):
        next(Batches(dataset, NONE, 1, SIZE, workers=1).iterate(0, 1))
    assert dataset.defects == {"unreadable picture": 7}


INTERRUPTED = """if True:
    import numpy as np, signal, sys
    from ghostyolo.augment.detection import NONE
    from ghostyolo.augment.batches import Batches
    from ghostyolo.data.dataset import Dataset, Sample
    signal.signal(signal.SIGINT, signal.default_int_handler)  # off in a shell's background
    sample = Sample(sys.argv[1], np.zeros((0, 4)), np.zeros(0), np.zeros(0, bool), (24, 36), 0)
    batches = Batches(Dataset(("a",), (sample,), "train", "x"), NONE, 1, (32, 32), workers=2)
    for i, _ in enumerate(batches.iterate(0, 10**9)):
        if i == 3:
            print("running", flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_an_interruption_ends_all_processes(dataset):
    run = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, dataset.samples[1].path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert run.stdout.readline() == "running\n"
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does, which tells the workers too
        _, told = run.communicate(timeout=60)  # the workers hold these pipes as well
        with pytest.raises(ProcessLookupError):
            os.killpg(run.pid, 0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == -signal.SIGINT and told.count("Traceback") == 1


def test_impossible_numbers_are_refused(dataset):
    for changes in ({"batch": 0}, {"seed": -1}, {"workers": -1}):
        with pytest.raises(OptionError, match=f"{next(iter(changes))}=-?[01] is under"):
            Batches(**{"dataset": dataset, "settings": NONE, "batch": 1, "size": SIZE} | changes)
    for shard in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(OptionError, match="rank below it"):
            Batches(dataset, NONE, 4, SIZE, shard=shard)
    with pytest.raises(OptionError, match="batch=4 does not divide among 3 processes"):
        Batches(dataset, NONE, 4, SIZE, shard=(0, 3))
    with pytest.raises(DataError, match="no picture"):
        Batches(Dataset(("a",), (), "train", "x"), NONE, 1, SIZE)


@pytest.mark.skipif(sys.platform != "linux", reason="its shared memory are files in /dev/shm")
def test_workers_do_without_shared_memory_if_it_is_too_small(dataset, caplog):
    """A limit of the size of files is one of shared memory too."""
    straight = list(Batches(dataset, NONE, 3, SIZE).iterate(0, 5))
    with runs.no_larger_than(4096):
        found = list(Batches(dataset, NONE, 3, SIZE, workers=2).iterate(0, 5))
    assert all(map(same, found, straight))
    assert sum("shared memory (/dev/shm) has no room" in line for line in caplog.messages) == 1
