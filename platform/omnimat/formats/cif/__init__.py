"""Reads crystals from CIF files, the format of the crystallographers' journals and databases."""

from omnimat.formats.format import Format

FORMAT = Format(
    label="CIF",
    patterns=("*.cif", "*.cif.gz", "*.mcif", "*.mcif.gz"),
    read="omnimat.formats.cif.reader:read",
)
