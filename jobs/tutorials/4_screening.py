# %% [markdown]
# # Screening
#
# Of many crystals, which are worth a closer look? An index holds the vectors of crystals, what is
# known of them, and what a model predicts; a screen chooses among them. This tutorial has 26
# crystals, which are in an index as millions would be.
#
# Run it in the folder of the repository. The model comes with omnimat.
#
# ## Index
#
# Known values come from a table, whose column `density (g/cm3)` becomes `density_g_per_cm3`.

# %%
from pathlib import Path

import omnimat

Path("runs").mkdir(exist_ok=True)
model = omnimat.load("mp-small")
index = omnimat.index(
    model, "jobs/crystals/*.cif", "runs/index", known="jobs/crystals/labels.csv", id_column="id"
)
print(len(index), "materials,", len(index.left_out()), "left out")

# %% [markdown]
# ## Screen
#
# Light salts that melt late, the nearest to rock salt first. A plain name is what is known of a
# material, or else what the model predicts.

# %%
hits = omnimat.screen(
    model,
    index,
    where="density_g_per_cm3 < 4 and melting_point_celsius > 700 and bonding == 'ionic'",
    exclude_elements=["Cs"],
    near="jobs/crystals/NaCl.cif",
    top=5,
)
print(hits[["name", "reduced_formula", "space_group", "similarity", "known.density_g_per_cm3"]])
print(hits.attrs["notes"])

# %% [markdown]
# Those of which too little is known to decide are left out, and the notes say how many. A name that
# nothing has is refused with those that are near it.
#
# The same as a command:
#
# ```
# omnimat index mp-small 'jobs/crystals/*.cif' -o runs/index \
#     --known jobs/crystals/labels.csv --id id
# omnimat screen mp-small runs/index --where "density_g_per_cm3 < 4" --near jobs/crystals/NaCl.cif
# ```
#
# ## Among predictions
#
# What nobody has measured is predicted. Here it is the band gap, and a lower end of its interval
# above 2 eV is a safer guide than a gap above 2 eV: choosing the best of many predictions also
# chooses the largest errors.

# %%
wide = omnimat.screen(model, index, where="predicted.band_gap_ev_low > 2")
print(wide[["name", "predicted.band_gap_ev", "predicted.band_gap_ev_low"]])
