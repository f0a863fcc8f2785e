# %% [markdown]
# # A measured pattern to candidate phases
#
# A diffractometer gives a pattern, and the question is which crystal made it. This tutorial
# compares a pattern with the patterns of 26 crystals, in the space of a model that has an encoder
# of patterns.
#
# Run it in the folder of the repository: it makes all it needs in `runs/`.

# %% [markdown]
# ## A model of patterns
#
# The one that comes with omnimat knows structures alone. This one is small and is trained once, in
# minutes on two CPU cores: an encoder of structures and one of diffraction patterns, aligned with
# each other.

# %%
import os
import subprocess
from pathlib import Path

Path("runs").mkdir(exist_ok=True)
os.environ.setdefault("OMNIMAT_STORAGE", str(Path("runs").resolve()))
if not Path("runs/model").exists():
    subprocess.run(["omnimat", "run", "jobs/tutorials/pretrain.yaml"], check=True)
    subprocess.run(["omnimat", "package", "tutorial", "--out", "runs/model"], check=True)

# %% [markdown]
# ## A pattern
#
# In your work this is the file that your diffractometer wrote: `.xy`, `.xye`, `.csv`, `.xrdml` or
# RRUFF's text, after its background was subtracted. To have one whose answer is known, we make the
# pattern of fluorite with what a measurement adds: broad peaks, noise, a sample that was not quite
# at its height, and counts instead of relative intensities.

# %%
import numpy as np
from pymatgen.analysis.diffraction.xrd import XRDCalculator
from pymatgen.core import Structure

lines = XRDCalculator("CuKa").get_pattern(Structure.from_file("jobs/crystals/CaF2.cif"))
two_theta_degree = np.arange(10, 90, 0.05)
shifted = two_theta_degree[:, None] - lines.x - 0.05
peaks = (lines.y * np.exp(-0.5 * (shifted / 0.3) ** 2)).sum(axis=1)
counts = np.random.default_rng(0).poisson(20 * peaks)
np.savetxt("runs/measured.xy", np.column_stack([two_theta_degree, counts]), fmt="%.2f")

# %% [markdown]
# ## Candidates
#
# The model derives the pattern of each crystal and embeds it by the same encoder as the measured
# one.

# %%
import omnimat

model = omnimat.load("runs/model")
candidates = model.embed("jobs/crystals/*.cif", "xrd")
measured = model.embed("runs/measured.xy", "xrd")
assert not any(candidates.notes + measured.notes)

# %%
similarities = candidates.vectors @ measured.vectors[0]
phases = [candidates.names[place] for place in np.argsort(-similarities)]
for name in phases[:5]:
    print(f"{name:24} {similarities[candidates.names.index(name)]:.3f}")

# %% [markdown]
# Such a list says where to look first, not what it is: refine the first few against the pattern. A
# small encoder sees where the strong peaks stand and little more, so phases with nearly the same
# cell are hard to tell apart. A mixture of phases is nearest to none of them.
#
# That noise and the width of peaks do not mislead it was learned: in [its job file](pretrain.yaml),
# the `augmentation` of `xrd` varies each pattern as an experiment might.
#
# The model has aligned patterns with structures, so the pattern can also be compared with the
# crystals as they are. This is harder, and needs a model that has seen more than 400 materials.

# %%
structures = model.embed("jobs/crystals/*.cif", "structure").vectors @ measured.vectors[0]
print([candidates.names[place] for place in np.argsort(-structures)[:5]])
