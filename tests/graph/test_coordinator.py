"""Threads that stop together."""

from __future__ import annotations

import threading

import pytest

import paramserver_client.graph as tf


def test_join_raises_the_first_error_with_its_class() -> None:
    coord = tf.train.Coordinator()
    went_on = threading.Event()

    def fails() -> None:
        with coord.stop_on_exception():
            raise KeyError("first")

    def waits() -> None:
        with coord.stop_on_exception():
            coord.wait_for_stop()
            went_on.set()
            raise ValueError("second")

    threads = [threading.Thread(target=each) for each in (waits, fails)]
    for thread in threads:
        thread.start()
    with pytest.raises(KeyError, match="first"):
        coord.join(threads)
    assert went_on.is_set()
    assert coord.should_stop()
    assert coord.joined
    with pytest.raises(ValueError, match="late"):
        coord.request_stop(ValueError("late"))
    with pytest.raises(KeyError):
        coord.raise_requested_exception()
    coord.clear_stop()
    assert not coord.should_stop()
    coord.raise_requested_exception()
    coord.join([])


def test_the_end_of_input_is_no_error() -> None:
    coord = tf.train.Coordinator()
    coord.request_stop(tf.errors.OutOfRangeError("end"))
    coord.join()
    assert coord.wait_for_stop(0)
    strict = tf.train.Coordinator(clean_stop_exception_types=(KeyError,))
    strict.request_stop(KeyError("clean"))
    strict.join()


def test_threads_that_do_not_stop_are_named() -> None:
    coord, release = tf.train.Coordinator(), threading.Event()
    thread = threading.Thread(target=release.wait, name="stubborn")
    coord.register_thread(thread)
    thread.start()
    coord.request_stop()
    with pytest.raises(RuntimeError, match="Coordinator stopped with threads still running: stubborn"):
        coord.join(stop_grace_period_secs=0.01)
    coord.register_thread(thread)
    coord.join(stop_grace_period_secs=0.01, ignore_live_threads=True)
    release.set()
    thread.join()


def test_loopers_call_until_they_are_stopped() -> None:
    coord, calls = tf.train.Coordinator(), []

    def count(step: int, *, last: int) -> None:
        calls.append(step)
        if len(calls) == last:
            coord.request_stop()

    tf.train.LooperThread.loop(coord, 0.001, count, [2], {"last": 3})
    coord.join()
    assert calls == [2, 2, 2]

    class Busy(tf.train.LooperThread):
        told: list[str] = []

        def start_loop(self) -> None:
            self.told.append("start")

        def run_loop(self) -> None:
            self.told.append("run")
            raise OSError("broken")

        def stop_loop(self) -> None:
            self.told.append("never")

    coord = tf.train.Coordinator()
    Busy(coord, None).start()
    with pytest.raises(OSError, match="broken"):
        coord.join()
    assert Busy.told == ["start", "run"]
    with pytest.raises(ValueError, match="'coord' argument must be a Coordinator"):
        tf.train.LooperThread(None, 1)
    with pytest.raises(ValueError, match="require that you also pass 'target'"):
        tf.train.LooperThread(coord, 1, args=[1])
