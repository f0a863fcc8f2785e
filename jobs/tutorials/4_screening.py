# %% [markdown]
# # Screening
#
# Of many crystals, which are worth a closer look? An index holds the vectors of crystals, what is
# known of them, and what a model predicts; a screen chooses among them. This tutorial has 26
# crystals, which are in an index as millions would be.
#
# Run it in the folder of the repository, after [the first tutorial](1_crystals_to_predictor.py) has
# made `runs/model`.
#
# ## Index
#
# Known values come from a table. A name ends with its unit, so we rename two columns.

# %%
import pandas as pd

names = {
    "density (g/cm3)": "density_g_per_cm3",
    "melting point (celsius)": "melting_point_celsius",
}
pd.read_csv("jobs/crystals/labels.csv").rename(columns=names).to_csv("runs/known.csv", index=False)

# %%
import omnimat

model = omnimat.load("runs/model")
index = omnimat.index(
    model, "jobs/crystals/*.cif", "runs/index", known="runs/known.csv", id_column="id"
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
# omnimat index runs/model 'jobs/crystals/*.cif' -o runs/index \
#     --known runs/known.csv --id id
# omnimat screen runs/model runs/index --where "density_g_per_cm3 < 4" --near jobs/crystals/NaCl.cif
# ```
#
# ## Among predictions
#
# With a model that predicts, such as `runs/density` of the first tutorial, the same names are there
# for crystals without a label, and `predicted.density_g_per_cm3_high < 4` is a safer guide than
# `density_g_per_cm3 < 4`: choosing the best of many predictions also chooses the largest errors.
