"""Another package adds a section and a head by its entry points, without a line changed here."""

import json
import os
import shutil
import subprocess
import sys

from upath import UPath

from omnimat.base.workspace import Workspace
from omnimat.cli.recomputation import recomputation
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.verification.verify import verify

MODULE = '''
"""How many materials have a density of states, and a head that only adds a bias."""

from typing import Literal

import torch

from omnimat.evaluation.section import Section, task_and_split
from omnimat.evaluation.stored import EMBEDDINGS, read_embeddings
from omnimat.finetune.heads.head import HeadSettings
from omnimat.leaderboard.finding import Finding
from omnimat.verification.agreement import check_agreement


class Counting(Section):
    modality: str = "dos"

    def evaluate(self, split, folder):
        return [counted(split.embeddings, self.modality)]

    @classmethod
    def recompute(cls, row, evidence):
        task, split = task_and_split(row)
        found = counted(read_embeddings(row, evidence).embeddings, task.split()[-1])
        yield from check_agreement(row, [found])


def counted(embeddings, modality):
    number = int(embeddings.present[modality].sum())
    return Finding(f"count of {modality}", "number", number, True, number, EMBEDDINGS)


class Bias(HeadSettings):
    type: Literal["bias"] = "bias"

    def build(self, modalities, embedding_dim, num_outputs):
        return torch.nn.Linear(0, num_outputs)
'''
ENTRY_POINTS = """\
[omnimat.evaluations]
counting = counting_package:Counting

[omnimat.heads]
bias = counting_package:Bias
"""
PROGRAM = """
import json, sqlite3, sys
from upath import UPath
from omnimat.base.workspace import Workspace
from omnimat.cli.recomputation import recomputation
from omnimat.evaluation.evaluate import evaluate
from omnimat.evaluation.settings import EvaluateSettings
from omnimat.finetune.settings import FinetuneSettings
from omnimat.leaderboard.store import LeaderboardStore
from omnimat.testing.leased import leased
from omnimat.verification.verify import verify

workspace = Workspace(UPath(sys.argv[1]))
common = {"dataset": "cubes", "run": "pre"}
settings = EvaluateSettings(**common, retrieval=None, counting={})
[row] = evaluate("counted", settings, workspace, leased(workspace.run("counted")))
verdicts = []
for value in (row.value, 99):
    connection = sqlite3.connect(workspace.root / "leaderboard.sqlite")
    with connection:
        connection.execute("UPDATE leaderboard_rows SET value = ? WHERE section != ''", [value])
    connection.close()
    store = LeaderboardStore(workspace.leaderboard_url)
    verdicts += [one.verdict for one in verify(store, workspace.files, recomputation)]
sweep = FinetuneSettings(**common, head={"type": "bias"}, tasks=["formation energy"])
print(json.dumps([row.section, verdicts, sweep.head.build(("dos",), 8, 2).out_features]))
"""


def test_its_rows_are_written_and_proven_and_without_it_cannot_be(honest, tmp_path):
    root = tmp_path / "storage"
    ignored = shutil.ignore_patterns("leaderboard.sqlite*")
    shutil.copytree(str(honest[0].root), root, ignore=ignored)
    installed = tmp_path / "installed"
    metadata = installed / "counting_package-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: counting-package\nVersion: 1.0"
    )
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (installed / "counting_package.py").write_text(MODULE)
    path = os.pathsep.join(filter(None, [str(installed), os.environ.get("PYTHONPATH")]))
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM, root],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    told = json.loads(finished.stdout.splitlines()[-1])
    assert told == ["counting_package.counting", ["recomputed", "tampered"], 2]
    workspace = Workspace(UPath(root))
    [outcome] = verify(LeaderboardStore(workspace.leaderboard_url), workspace.files, recomputation)
    assert outcome.verdict == "unverifiable"
    assert "install the package counting_package" in outcome.sentences[0]
