from broker.outbound.breaker import FAILURES, LONGEST_REST_SECONDS, Breaker


class Time:
    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        assert breaker.enter() == 0
        breaker.leave(False)


def test_a_host_that_fails_now_and_then_is_not_left_alone() -> None:
    breaker = Breaker(Time())
    for _ in range(10):
        fail(breaker, FAILURES - 1)
        assert breaker.enter() == 0
        breaker.leave(True)
    assert breaker.enter() == 0


def test_after_several_failures_in_a_row_it_rests_then_one_request_tries() -> None:
    time = Time()
    breaker = Breaker(time)
    fail(breaker, FAILURES)
    rest = breaker.enter()
    assert 0 < rest <= 1
    time.at += rest
    assert breaker.enter() == 0
    assert breaker.enter() > 0  # the first one is still trying
    breaker.leave(True)
    assert breaker.enter() == 0


def test_it_rests_longer_each_time_a_try_fails_but_not_for_ever() -> None:
    time = Time()
    breaker = Breaker(time)
    fail(breaker, FAILURES)
    rests = []
    for _ in range(12):
        rests.append(breaker.enter())
        time.at += rests[-1]
        fail(breaker, 1)
    assert rests == sorted(rests)
    assert rests[-1] == LONGEST_REST_SECONDS


def test_a_try_that_was_broken_off_does_not_block_the_next() -> None:
    time = Time()
    breaker = Breaker(time)
    fail(breaker, FAILURES)
    time.at += 1
    assert breaker.enter() == 0
    breaker.leave(None)
    assert breaker.enter() == 0
