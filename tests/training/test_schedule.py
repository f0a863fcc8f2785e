import pytest

from omnimat.training.schedule import warmup_cosine


def fractions(num_steps=100, warmup_steps=10, final_fraction=0.1):
    return [
        warmup_cosine(
            step, num_steps=num_steps, warmup_steps=warmup_steps, final_fraction=final_fraction
        )
        for step in range(num_steps + 1)
    ]


def test_warms_up_linearly_and_ends_at_the_final_fraction():
    values = fractions()
    assert values[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert values[10] == 1
    assert values[55] == pytest.approx(0.55)  # half way down
    assert values[100] == pytest.approx(0.1)


def test_rises_and_then_only_falls():
    values = fractions()
    assert values == sorted(values[:11]) + sorted(values[11:], reverse=True)


def test_without_a_warm_up_it_starts_at_the_peak():
    assert fractions(warmup_steps=0)[0] == 1


def test_a_run_that_is_all_warm_up_reaches_the_peak():
    assert fractions(num_steps=10, warmup_steps=10)[9] == 1
