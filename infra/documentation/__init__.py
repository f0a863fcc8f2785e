"""Makes the pages of the documentation; ``mkdocs.yml`` beside it makes a site of them.

Prose lies in ``platform/omnimat/docs``. The rest is made of what it describes: the JSON Schema of
job files, the commands, the rooms, the tutorials, and pages that stand elsewhere in the repository.
"""
