"""A placement group that outlives its driver, on a real cluster, is found and removed."""

import sys

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.slow]

# An actor of its own life makes the group after its driver has ended, which is what Ray's own
# controllers do when a driver is killed at the wrong moment.
LEAK = """
import os, threading, time, ray
from ray.util import placement_group

@ray.remote(num_cpus=0)
class Survivor:
    def leak_after(self, driver):
        threading.Thread(target=self._leak, args=(driver,), daemon=True).start()

    def _leak(self, driver):
        while os.path.exists(f"/proc/{driver}"):
            time.sleep(0.05)
        time.sleep(2)  # until Ray has cleaned up after the driver
        ray.get(placement_group([{"CPU": 2}]).ready())

ray.init(log_to_driver=False)
survivor = Survivor.options(name="survivor", namespace="tests", lifetime="detached").remote()
ray.get(survivor.leak_after.remote(os.getpid()))
"""
CLEAN = """
import time, ray
from omnimat.cluster.leftovers import remove_leftovers

ray.init(log_to_driver=False)
mine = ray.util.placement_group([{"memory": 1}])
kept = ray.util.placement_group([{"memory": 1}], lifetime="detached", name="kept")
deadline_s = time.monotonic() + 60
while ray.available_resources().get("CPU", 0) > 1:
    assert time.monotonic() < deadline_s, "nothing leaked"
    time.sleep(0.2)
removed = remove_leftovers()
assert len(removed) == 1, removed
assert not remove_leftovers()
while ray.available_resources().get("CPU", 0) < 1.9:
    assert time.monotonic() < deadline_s, "the CPUs did not come back"
    time.sleep(0.2)
ray.get([mine.ready(), kept.ready()])
ray.util.remove_placement_group(kept)
ray.kill(ray.get_actor("survivor", namespace="tests"))
"""


def test_what_an_ended_driver_left_is_removed_and_nothing_else(ray_head):
    for program in (LEAK, CLEAN):
        ran = ray_head.command(sys.executable, "-c", program, folder=ray_head.storage)
        assert ran.returncode == 0, ran.stdout + ran.stderr
