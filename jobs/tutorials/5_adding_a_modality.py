# %% [markdown]
# # Adding a modality
#
# A modality of your own lives in a package of your own; omnimat is left as it is. This tutorial
# uses one that is whole and small: [phonon densities of states](../../tests/extension/package),
# with a featurizer, an encoder and a source. Read its files beside this; they are short.
#
# Run it in the folder of the repository.
#
# | file | what it says |
# |---|---|
# | `__init__.py` | `MODALITY`: its name, how it is stored and checked, what reads it |
# | `features.py` | the featurizer: record → arrays, or None where a record lacks it |
# | `encoder.py` | the settings of an encoder |
# | `encoder_network.py` | its network: arrays → embedding |
# | `source.py` | a source whose records have the part |
# | `pyproject.toml` | entry points, by which omnimat finds them |
#
# ## Install it
#
# In your own work: `pip install -e my_package`. Here it goes into a folder of its own, so that your
# environment stays as it is.

# %%
import shutil
import subprocess
import sys

shutil.copytree("tests/extension/package", "runs/package", dirs_exist_ok=True)
pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
subprocess.run([*pip, "--upgrade", "--target", "runs/installed", "./runs/package"], check=True)
sys.path.insert(0, "runs/installed")

# %% [markdown]
# From now on it stands beside ours: in job files, in their JSON Schema, in every check.

# %%
from omnimat.modalities.registry import MODALITIES, encoder_classes

print(MODALITIES.names)
print([one.model_fields["type"].default for one in encoder_classes("phonon_dos")])

# %% [markdown]
# ## From a record to a vector
#
# The source gives records, the featurizer makes arrays of one, and the encoder embeds them. This is
# what a job does with millions of them. Every fourth record has no phonons, and nothing is made up
# for it.

# %%
from omnimat_phonons.features import PhononCurve
from omnimat_phonons.source import PhononPrototypes

records = list(PhononPrototypes(num_materials=4).read(0, 4))
arrays = [PhononCurve()(record) for record in records]
assert [one is None for one in arrays] == [False, False, False, True]

# %%
import numpy as np
import torch
from omnimat_phonons.encoder import CurveMlpSettings

encoder = CurveMlpSettings().build(embedding_dim=16)
stacked = {key: torch.tensor(np.stack([one[key] for one in arrays[:3]])) for key in arrays[0]}
print(encoder(stacked).shape)

# %% [markdown]
# ## Test it
#
# `omnimat.testing` has suites that every encoder and featurizer of omnimat passes: shapes,
# gradients, atoms in another order, what is missing, half precision. A test of yours inherits one
# and names its settings, as `conformance.py` of the package does:
#
# ```
# python -m pytest tests/extension/package/conformance.py
# ```
#
# ## Use it
#
# It is a key of job files like any other. A mistake is found before anything runs, by `omnimat
# check` or here:

# %%
from pathlib import Path

from omnimat.base.errors import UserError
from omnimat.job.load import load

job = """\
#!/usr/bin/env -S omnimat run
kind: pretrain
name: phonons-structure
dataset: phonons
modalities:
  structure: {encoder: {preset: tiny}}
  phonon_dos: {encoder: {type: curve_mlp, wide: 32}}
objective: {type: clip}
"""
Path("runs/phonons.yaml").write_text(job)
try:
    load(Path("runs/phonons.yaml"))
except UserError as error:
    print(error)

# %%
Path("runs/phonons.yaml").write_text(job.replace("wide:", "width:"))
print(load(Path("runs/phonons.yaml")).settings.modalities.names)

# %% [markdown]
# With an `ingest` job of `source: {type: phonon_prototypes}` before it, `omnimat run` aligns
# phonons with structures, and an `evaluate` job tells how well one finds the other.
# `tests/extension/test_package.py` does all of it.
