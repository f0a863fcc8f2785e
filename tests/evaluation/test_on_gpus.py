"""Tasks that embed on GPUs give what this process gives; the GPU is one that Ray is told of."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.models.inputs import featurizers_of, read_cards

PROGRAM = """
import json, sys
import ray
from upath import UPath
from omnimat.base.workspace import Workspace
from omnimat.evaluation.on_gpus import EmbedderOnGpus
from omnimat.evaluation.section import Embedder
from omnimat.models.inputs import featurizers_of, read_cards
from omnimat.stream.location import StoreLocation

ray.init(address="local", num_cpus=2, num_gpus=1, include_dashboard=False)
workspace = Workspace(UPath(sys.argv[1]))
parent = workspace.run("pre")
cards = read_cards(parent)
location = StoreLocation.of(workspace, "prototypes", featurizers_of(cards))
told = (parent, cards, location.dataset, location.open(), 32)
on_gpus = EmbedderOnGpus(*told, features=location, gpus_per_encoder=1.0)
assert on_gpus.hardware() == Embedder(*told).hardware()
there = on_gpus.embed("test").embeddings
here = Embedder(*told).embed("test").embeddings
print(json.dumps({
    name: [
        float((there.values[name] - here.values[name]).abs().max()),
        bool((there.present[name] == here.present[name]).all()),
        len(there.present[name]),
    ]
    for name in cards
}))
"""


@pytest.mark.ray
@pytest.mark.slow
def test_tasks_embed_what_this_process_embeds(workspace, write_features, embedder, tmp_path):
    without = shutil.ignore_patterns("features")  # which another test may have left
    shutil.copytree(str(workspace.root), tmp_path / "storage", ignore=without)
    workspace = Workspace(UPath(tmp_path / "storage"))
    write_features(workspace, "prototypes", featurizers_of(read_cards(workspace.run("pre"))))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(workspace.root)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    num_test = len(embedder.positions("test"))
    assert found.keys() == {"structure", "dos", "text"}
    for largest, is_same, length in found.values():
        # The same weights and batches; only how many threads add up may differ.
        np.testing.assert_allclose(largest, 0, atol=1e-6)
        assert (is_same, length) == (True, num_test)
