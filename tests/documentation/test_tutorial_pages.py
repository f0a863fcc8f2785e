from documentation.tutorials import page

SCRIPT = """\
# %% [markdown]
# # A title
#
# Some *text*.

# %%
import numpy  # a remark

print(numpy.pi)

# %%

# %% [markdown]
# The end.
"""


def test_cells_become_text_and_code():
    assert page(SCRIPT) == (
        "# A title\n\nSome *text*.\n\n"
        "```python\nimport numpy  # a remark\n\nprint(numpy.pi)\n```\n\n"
        "The end.\n"
    )
