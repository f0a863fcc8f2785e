import time

import pytest
import torch

from omnimat.training.stopwatch import REST, Stopwatch


def test_an_inner_phase_interrupts_the_outer_one():
    watch = Stopwatch(torch.device("cpu"))
    start_s = time.perf_counter()
    with watch.phase("forward"):
        time.sleep(0.02)
        with watch.phase("loss"):
            time.sleep(0.05)
        time.sleep(0.02)
    time.sleep(0.03)
    seconds = watch.read()
    elapsed_s = time.perf_counter() - start_s
    assert set(seconds) == {"forward", "loss", REST}
    # A sleep is never shorter than requested, but may be much longer on a busy machine.
    assert seconds["forward"] >= 0.04
    assert seconds["loss"] >= 0.05
    assert seconds[REST] >= 0.03
    assert sum(seconds.values()) <= elapsed_s
    assert sum(watch.read().values()) < seconds["forward"]


def test_a_phase_that_fails_ends_all_the_same():
    watch = Stopwatch(torch.device("cpu"))
    with pytest.raises(KeyError), watch.phase("forward"):
        raise KeyError
    watch.read()
    assert set(watch.read()) == {REST}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_gpu_it_takes_the_time_of_the_gpu():
    device = torch.device("cuda")
    left = torch.rand(4096, 4096, device=device)
    watch = Stopwatch(device)
    with watch.phase("forward"):
        for _ in range(50):
            left = left @ left
    assert watch.read()["forward"] > 0.01
