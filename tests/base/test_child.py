import ctypes
import operator
import os
import re
import resource
import signal
import sys
import time

import pytest

from omnimat.base.child import Child, ChildDiedError, LimitError, Limits, within
from omnimat.testing.hostile_source import complain_awkwardly

pytestmark = pytest.mark.slow


MEMORY = resource.getrlimit(resource.RLIMIT_DATA)
HUGE = 2 * 10**9
SLOW = (r"(a+)+b", 60 * "a")  # a pattern whose search never ends


def test_a_child_outlives_errors_and_limits_of_memory_and_is_replaced_when_it_dies():
    with Child() as child:
        first = child.call(os.getpid)
        assert first != os.getpid()
        with pytest.raises(KeyError, match="x"):
            child.call(operator.getitem, {}, "x")
        with pytest.raises(RuntimeError, match="AwkwardError: 1 and 2"):
            child.call(complain_awkwardly)
        with pytest.raises(LimitError, match=r"more than 0\.5 GB of memory"):
            child.call(bytearray, HUGE, limits=Limits(max_memory_gb=0.5))
        assert len(child.call(bytes, 10**8, limits=Limits(max_memory_gb=0.5))) == 10**8
        assert child.call(signal.getitimer, signal.ITIMER_PROF) == (0, 0)
        assert child.call(resource.getrlimit, resource.RLIMIT_DATA) == MEMORY
        assert child.call(os.getpid) == first
        with pytest.raises(ChildDiedError, match="segmentation fault") as died:
            child.call(ctypes.string_at, 0)
        assert died.value.exit_code == -signal.SIGSEGV
        second = child.call(os.getpid)
        assert second != first
        with pytest.raises(ChildDiedError, match="exit code 3"):
            child.call(sys.exit, 3)
        with pytest.raises(LimitError, match="more than 1 s of CPU time"):
            child.call(re.match, *SLOW, limits=Limits(max_cpu_s=1))
        last = child.call(os.getpid)
        assert last not in {first, second}
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


def test_waiting_takes_no_cpu_time():
    with Child() as child:
        child.call(os.getpid)
        assert child.call(time.sleep, 1.5, limits=Limits(max_cpu_s=1)) is None


def test_what_is_limited_here_is_as_before_afterwards():
    with within(Limits(max_cpu_s=60, max_memory_gb=0.2)):
        assert 0 < signal.getitimer(signal.ITIMER_PROF)[0] < 61
        with pytest.raises(MemoryError):
            bytearray(HUGE)
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)
    assert resource.getrlimit(resource.RLIMIT_DATA) == MEMORY
