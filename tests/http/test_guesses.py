from __future__ import annotations

from paramserver.http.guesses import MAX_PEERS, Guesses

RIGHT, OTHER = b"right", b"other"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_who_guesses_has_to_wait_until_the_minute_is_over() -> None:
    clock = Clock()
    guesses = Guesses(3, clock)
    for _ in range(3):
        assert guesses.may_try("10.0.0.1", OTHER)
        guesses.was_wrong("10.0.0.1")
    assert not guesses.may_try("10.0.0.1", OTHER)
    assert guesses.may_try("10.0.0.2", OTHER)
    clock.now += Guesses.WINDOW_S
    assert guesses.may_try("10.0.0.1", OTHER)


def test_what_was_right_before_is_not_hurt() -> None:
    guesses = Guesses(1)
    guesses.was_right("10.0.0.1", RIGHT)
    guesses.was_wrong("10.0.0.1")
    assert guesses.may_try("10.0.0.1", RIGHT)
    assert not guesses.may_try("10.0.0.1", OTHER)


def test_it_takes_little_memory() -> None:
    guesses = Guesses(1)
    for number in range(MAX_PEERS + 10):
        guesses.was_wrong(str(number))
    for number in range(1000):
        guesses.was_right("one", str(number).encode())
    assert len(guesses._peers) <= MAX_PEERS
    assert len(guesses._peers["one"].right) <= 64
    assert guesses.may_try("0", OTHER)


def test_without_a_limit_anybody_may_try() -> None:
    guesses = Guesses(0)
    for _ in range(1000):
        guesses.was_wrong("10.0.0.1")
    assert guesses.may_try("10.0.0.1", OTHER)
