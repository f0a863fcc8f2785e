"""A placement group that outlives its driver, on a real cluster, is found and removed."""

import sys

import pytest
import ray

from omnimat.cluster.leftovers import remove_leftovers
from omnimat.testing.waiting import wait_for

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


def free_cpus() -> float:
    return ray.available_resources().get("CPU", 0)


def test_what_an_ended_driver_left_is_removed_and_nothing_else(on_ray, ray_head):
    remove_leftovers()  # of tests that killed their drivers
    mine = ray.util.placement_group([{"memory": 1}])
    kept = ray.util.placement_group([{"memory": 1}], lifetime="detached", name="kept")
    leaking = ray_head.command(sys.executable, "-c", LEAK, folder=ray_head.storage)
    assert leaking.returncode == 0, leaking.stdout + leaking.stderr
    wait_for(lambda: free_cpus() < 1)
    removed = remove_leftovers()
    assert len(removed) == 1, removed
    assert not remove_leftovers()
    wait_for(lambda: free_cpus() > 1.9)
    ray.get([mine.ready(), kept.ready()])
    ray.util.remove_placement_group(kept)
    ray.kill(ray.get_actor("survivor", namespace="tests"))
