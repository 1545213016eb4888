"""Threads that work ahead: order, bounds, errors, and that they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from ghostyolo.data import prefetch


def counted(count: int, seen: list[int]) -> Iterator[int]:
    for number in range(count):
        seen.append(number)
        yield number


def test_order_is_kept_whatever_takes_long() -> None:
    def slow(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number * number

    found = list(prefetch.mapped(slow, range(20), workers=4, ahead=6))
    assert found == [n * n for n in range(20)]


def test_no_more_is_taken_than_is_allowed() -> None:
    seen: list[int] = []
    gate = threading.Event()

    def wait(number: int) -> int:
        gate.wait(5)
        return number

    found = prefetch.mapped(wait, counted(100, seen), workers=1, ahead=3)
    threading.Timer(0.1, gate.set).start()
    assert next(found) == 0
    assert len(seen) <= 5
    found.close()


def test_error_comes_in_its_turn() -> None:
    def divide(number: int) -> float:
        return 6 / number

    results = prefetch.mapped(divide, [3, 2, 0, 1], workers=2, ahead=2)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_items_come_ahead_in_order_and_errors_behind_them() -> None:
    def broken() -> Iterator[int]:
        yield from range(5)
        raise ValueError("the sixth")

    results, found = prefetch.ahead(broken(), 2), []
    with pytest.raises(ValueError, match="the sixth"):
        found.extend(results)
    assert list(prefetch.ahead(range(5), 2)) == list(range(5))


def test_thread_is_bounded_and_ends_with_its_reader() -> None:
    seen: list[int] = []
    before = threading.active_count()
    results = prefetch.ahead(counted(10_000, seen), 3)
    assert next(results) == 0
    time.sleep(0.1)
    assert len(seen) <= 6
    results.close()
    assert threading.active_count() == before


def test_newest_of_a_camera_is_what_counts() -> None:
    def camera() -> Iterator[int]:
        for number in range(50):
            time.sleep(0.002)
            yield number

    found = []
    for number in prefetch.ahead(camera(), 1, newest=True):
        found.append(number)
        time.sleep(0.02)
    assert found == sorted(found)
    assert found[-1] == 49
    assert len(found) < 30


def test_batches() -> None:
    assert list(prefetch.batches(range(5), 2)) == [[0, 1], [2, 3], [4]]
    assert list(prefetch.batches([], 2)) == []
