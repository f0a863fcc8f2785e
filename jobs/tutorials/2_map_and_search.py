# %% [markdown]
# # A map and a search
#
# A model gives every crystal a vector. Crystals that it takes for alike have vectors that point the
# same way. This tutorial embeds 26 crystals, finds the nearest of one of them, and draws a map of
# them all.
#
# Run it in the folder of the repository. The model comes with omnimat; any other packed one will
# do.

# %%
from pathlib import Path

import numpy as np

import omnimat

Path("runs").mkdir(exist_ok=True)

model = omnimat.load("mp-small")
embeddings = model.embed("jobs/crystals/*.cif", "structure")
names = [name.removeprefix("jobs/crystals/").removesuffix(".cif") for name in embeddings.names]
vectors = embeddings.vectors  # (26, d), each of length 1

# %% [markdown]
# A file that cannot be read would have a row of NaN and its reason in `notes`. Here all were read:

# %%
assert not any(embeddings.notes), embeddings.notes

# %% [markdown]
# ## Search
#
# All vectors have length 1, so the product of two is the cosine of the angle between them: 1 for
# crystals that the model cannot tell apart. The nearest of rock salt:

# %%
similarities = vectors @ vectors[names.index("NaCl")]
nearest = [names[place] for place in np.argsort(-similarities)]
for name in nearest[:6]:
    print(f"{name:8} {similarities[names.index(name)]:.3f}")

# %% [markdown]
# The first is rock salt itself. That other alkali halides follow was learned from energies and
# gaps, without being told what an alkali halide is.
#
# A file of your own need not be among them: `model.embed("mine.cif")` gives a vector that is
# compared in the same way. For many crystals, [make an index](4_screening.py) instead of holding
# all vectors yourself.
#
# ## Map
#
# A map shows vectors of many dimensions in two, such that near ones stay near. Distances between
# groups mean little.

# %%
from sklearn.manifold import TSNE

points = TSNE(metric="cosine", perplexity=5, random_state=0).fit_transform(vectors)

# %% [markdown]
# Plotly draws it as a page that opens in any browser, `runs/map.html`.

# %%
import pandas as pd
import plotly.express as px

labels = pd.read_csv("jobs/crystals/labels.csv").set_index("id").loc[names]
figure = px.scatter(x=points[:, 0], y=points[:, 1], text=names, color=labels["bonding"].to_numpy())
figure.update_traces(textposition="top center")
figure.write_html("runs/map.html")
