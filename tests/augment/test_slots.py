"""Slots for pictures that several processes write and read at once."""

from __future__ import annotations

import os
import signal
import sys
import time

import numpy as np
import pytest

from ghostyolo.augment.slots import Slots

FORKED = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def plane(key: int, side: int = 40) -> np.ndarray:
    return np.full((side, side + key % 3, 3), key, np.uint8)


def found(slots: Slots, slot: int, key: int) -> np.ndarray | None:
    """Return a copy of a picture, if it did not change meanwhile."""
    held = slots.get(slot, key)
    if held is None:
        return None
    image, head = held[0].copy(), held[1]
    return image if slots.holds(slot, head) else None


def test_a_slot_holds_the_last_picture_that_fits() -> None:
    slots = Slots(np.array([plane(1).nbytes, plane(2).nbytes]))
    assert found(slots, 0, 1) is None
    slots.put(0, 3, plane(3))
    slots.put(0, 2, plane(2))  # one byte too many
    np.testing.assert_array_equal(found(slots, 0, 3), plane(3))
    assert found(slots, 0, 2) is None and found(slots, 1, 3) is None
    slots.put(1, 2, plane(2))
    np.testing.assert_array_equal(found(slots, 1, 2), plane(2))
    np.testing.assert_array_equal(found(slots, 0, 3), plane(3))


def test_no_slots_take_no_memory() -> None:
    assert len(Slots(np.empty(0, int))) == 0


def test_what_was_lent_is_known_to_have_changed_also_if_the_same_picture_is_back() -> None:
    slots = Slots(np.full(1, plane(2).nbytes))
    slots.put(0, 1, plane(1))
    image, head = slots.get(0, 1)
    assert slots.holds(0, head)
    for key in (2, 1):
        slots.put(0, key, plane(key))
        assert not slots.holds(0, head)
    np.testing.assert_array_equal(image, plane(1))


@FORKED
def test_a_picture_is_whole_while_other_processes_overwrite_it() -> None:
    """Two writers and this reader; every picture that is read has one value throughout."""
    slots = Slots(np.full(1, plane(2, 200).nbytes))
    writers = []
    for first in (1, 2):
        if not (pid := os.fork()):
            number = first
            while True:
                number = (number + 2) % 250
                slots.put(0, number + 1, plane(number + 1, 200))
        writers.append(pid)
    try:
        count, end = 0, time.monotonic() + 20
        while count < 150 and time.monotonic() < end:
            key = int(np.frombuffer(slots.memory, np.int64, 1)[0])
            image = found(slots, 0, key) if key else None
            if image is not None:
                count += 1
                np.testing.assert_array_equal(image, plane(key, 200))
    finally:
        for pid in writers:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    assert count == 150


@FORKED
def test_a_process_that_is_killed_while_it_writes_leaves_an_empty_slot() -> None:
    slots = Slots(np.full(1, plane(2).nbytes))
    slots.put(0, 1, plane(1))
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        with slots._alone(0):
            np.frombuffer(slots.memory, np.int64, 1)[0] = 0
            os.write(writing, b".")
            signal.pause()
    os.read(reading, 1)
    slots.put(0, 2, plane(2))
    assert found(slots, 0, 1) is None and found(slots, 0, 2) is None  # nobody waits
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    slots.put(0, 2, plane(2))
    np.testing.assert_array_equal(found(slots, 0, 2), plane(2))
    os.close(reading)
    os.close(writing)
