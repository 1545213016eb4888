"""Decoded pictures in a file: what is read from it is right, whatever has happened to it."""

from __future__ import annotations

import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from ghostyolo.augment import disk
from ghostyolo.augment.batches import Batches
from ghostyolo.augment.cache import decoded
from ghostyolo.augment.detection import Augmentation
from ghostyolo.augment.disk import Disk, reserved
from ghostyolo.augment.slots import HEAD
from ghostyolo.data.dataset import Dataset, Sample
from ghostyolo.errors import OptionError

SETTINGS = Augmentation(jitter=0.2, flip=True, hue=0.1, saturation=1.5, exposure=1.5, mosaic=0.5)
SIZE = (32, 48)
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ghostyolo" / "pictures"


@pytest.fixture
def dataset(tmp_path):
    """Eight pictures of noise of two sizes, each with a box, an hour old."""
    rng, samples = np.random.default_rng(0), []
    for i in range(8):
        size = (24 + i % 2, 36)
        path = write(tmp_path / f"{i}.png", rng.integers(0, 256, (*size, 3), np.uint8))
        box = np.array([[8, 6, 28, 18]], np.float32)
        samples.append(Sample(path, box, np.zeros(1, int), np.zeros(1, bool), size, i))
    return Dataset(("a",), tuple(samples), "train", str(tmp_path))


def write(path, image, seconds_ago=3600):
    cv2.imwrite(str(path), image)
    when = time.time() - seconds_ago
    os.utime(path, (when, when))
    return str(path)


def run(dataset, workers=0, count=6, **options):
    """Return batches of a new run; by default with the file of the data set."""
    options = options or {"disk": reserved(dataset, decoded(dataset), None)}
    batches = Batches(dataset, SETTINGS, 4, SIZE, 5, workers, recent=0, **options)
    return list(batches.iterate(0, count))


def same(found, expected):
    return len(found) == len(expected) and all(
        x.equal(y) for a, b in zip(found, expected, strict=True) for x, y in zip(a, b, strict=True)
    )


def exchanged(dataset):
    """Write other pictures of the same length and time in place of the first two."""
    for sample in dataset.samples[:2]:
        state = os.stat(sample.path)
        data = bytearray(Path(sample.path).read_bytes())
        data[len(data) // 2] ^= 255
        Path(sample.path).write_bytes(data)
        os.utime(sample.path, ns=(state.st_atime_ns, state.st_mtime_ns))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_wherever_pictures_are_kept(dataset, workers):
    expected = run(dataset, cache_bytes=0, window_bytes=0)
    for options in ({"cache_bytes": 1 << 30}, {"cache_bytes": 9000}, {"window_bytes": 9000}):
        assert same(run(dataset, workers, **options), expected)
    assert same(run(dataset, workers), expected)
    assert same(run(dataset, workers), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_later_run_decodes_nothing_again(dataset, workers):
    expected = run(dataset, workers)
    exchanged(dataset)
    assert same(run(dataset), expected) and not dataset.defects
    assert not same(run(dataset, cache_bytes=0), expected)


def test_an_edited_picture_is_noticed(dataset):
    before = run(dataset)
    for sample in dataset.samples[:3]:
        write(sample.path, np.full((*sample.size, 3), 90, np.uint8), seconds_ago=60)
    expected = run(dataset, cache_bytes=0)
    assert not same(before, expected)
    assert same(run(dataset), expected) and same(run(dataset), expected)


def test_a_picture_that_has_only_just_changed_is_not_kept(dataset):
    first = dataset.samples[0]
    os.utime(first.path)
    path = reserved(dataset, decoded(dataset), None)
    run(dataset)
    kept = Disk(path, dataset, decoded(dataset))
    assert [kept.get(i, i + 1) is not None for i in range(8)] == [False] + [True] * 7


def test_defects_are_told_by_each_run(dataset, tmp_path):
    for i, sample in enumerate(dataset.samples[:2]):
        image = np.full(sample.size, 50 + i, np.uint8)
        write(sample.path, image)
    told = {"grey picture, read as RGB": 2}
    for _ in range(2):
        again = Dataset(dataset.names, dataset.samples, "train", dataset.path)
        run(again)
        assert again.defects == told


def test_what_a_crash_of_the_machine_lost_is_decoded_again(dataset, monkeypatch):
    expected, path = run(dataset), reserved(dataset, decoded(dataset), None)
    kept = Disk(path, dataset, decoded(dataset))
    kept.get(3, 4)[0][5:] = 0
    monkeypatch.setattr(disk, "START", disk.START + 1)
    kept = Disk(path, dataset, decoded(dataset))
    assert [kept.get(i, i + 1) is None for i in range(8)] == [i == 3 for i in range(8)]
    assert same(run(dataset), expected)
    kept = Disk(path, dataset, decoded(dataset))
    assert kept.get(3, 4) is not None


def test_a_file_of_rubbish_changes_no_batch(dataset):
    expected = run(dataset, cache_bytes=0)
    path = reserved(dataset, decoded(dataset), None)
    rng = np.random.default_rng(0)
    path.write_bytes(rng.integers(0, 256, path.stat().st_size, np.uint8).tobytes())
    assert same(run(dataset), expected)
    path.write_bytes(b"short")
    assert same(run(dataset), expected)


KILLED = """if True:
    import os, pickle, signal, sys
    from ghostyolo.augment.disk import Disk
    dataset, path, capacities, images = pickle.load(sys.stdin.buffer)
    slots = Disk(path, dataset, capacities)
    print("writing", flush=True)
    while True:
        for slot, image in enumerate(images):
            slots.put(slot, slot + 1, image)
            slots._parts(slot)[0][0] = 0
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("seconds", [0.0, 0.003, 0.011, 0.02])
def test_a_killed_writer_leaves_whole_pictures_or_none(dataset, seconds):
    expected = run(dataset, cache_bytes=0)
    path, sizes = reserved(dataset, decoded(dataset), None), decoded(dataset)
    images = [sample.read()[0] for sample in dataset.samples]
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    pickle.dump((dataset, path, sizes, images), writer.stdin)
    writer.stdin.flush()
    assert writer.stdout.readline() == b"writing\n"
    time.sleep(seconds)
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    kept = Disk(path, dataset, sizes)
    for slot, image in enumerate(images):
        found = kept.get(slot, slot + 1)
        assert found is None or np.array_equal(found[0], image)
    assert same(run(dataset), expected)


@LINUX
def test_several_processes_write_one_file(dataset):
    """Each is forked without having the file open, as the processes of torchrun."""
    expected = run(dataset, cache_bytes=0)
    children = []
    for _ in range(3):
        if not (pid := os.fork()):
            os._exit(0 if all(same(run(dataset), expected) for _ in range(3)) else 1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
    exchanged(dataset)
    assert same(run(dataset), expected)


def test_what_a_worker_holds_can_be_sent_to_a_process_that_is_not_forked(dataset):
    path = reserved(dataset, decoded(dataset), None)
    batches = Batches(dataset, SETTINGS, 4, SIZE, disk=path)
    batches.batch_at(0)
    maker = pickle.loads(pickle.dumps(batches._maker))
    assert maker.cache.kept.get(2, 3) is not None


def test_a_disk_without_room_is_told_before_the_run(dataset, cache_folder):
    run(dataset)
    told = (
        r"the decoded pictures take 8000.0 GB, [\d.]+ .B are free; delete the files of other runs"
    )
    with pytest.raises(OptionError, match=told):
        reserved(dataset.only(range(4)), np.full(4, 2 * 10**12), None)
    assert len(list(cache_folder.iterdir())) == 1


def test_a_folder_that_cannot_be_made_is_told_with_the_variable(dataset, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(OptionError, match="cannot make it: Not a directory; set XDG_CACHE_HOME"):
        reserved(dataset, decoded(dataset), None)


@LINUX
def test_bytes_are_reserved_before_the_run(dataset, cache_folder):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8 * HEAD, limits[1]))
    try:
        with pytest.raises(OptionError, match=r"cannot write: File too large; free some space"):
            reserved(dataset, decoded(dataset), None)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(cache_folder.iterdir())
    path = reserved(dataset, decoded(dataset), None)
    assert path.stat().st_blocks * 512 >= path.stat().st_size > decoded(dataset).sum()


def test_what_is_no_file_is_refused(dataset):
    path = reserved(dataset, decoded(dataset), None)
    path.unlink()
    path.mkdir()
    with pytest.raises(OptionError, match=r"cannot use it: .*; delete it, or set XDG_CACHE_HOME"):
        reserved(dataset, decoded(dataset), None)


def test_other_pictures_or_another_scale_have_a_file_of_their_own(dataset):
    sizes, halves = decoded(dataset), np.full(8, 2)
    paths = {
        reserved(dataset, sizes, None),
        reserved(dataset, sizes, None),
        reserved(dataset, decoded(dataset, halves), halves),
        reserved(dataset.only(range(7)), sizes[:7], None),
    }
    assert len(paths) == 3
