"""The rules that every featurizer must follow, as tests that a new featurizer's test inherits.

>>> class TestMyFeaturizer(FeaturizerConformance):
...     featurizer = MyFeaturizer()
...     needs = ("dos",)
"""

from __future__ import annotations

import copy
import dataclasses
from typing import ClassVar

import numpy as np
from pydantic import TypeAdapter

from omnimat.materials.record import Record
from omnimat.modalities.layout import Arrays, Featurizer
from omnimat.testing.materials import example_records
from omnimat.testing.sent import sent

NUM_RECORDS = 4


class FeaturizerConformance:
    """Tests shapes, determinism and round trips of a featurizer on some small crystals.

    Attributes:
        featurizer: the featurizer that is tested.
        needs: parts of a record; without all of them, the featurizer must return None.
    """

    featurizer: ClassVar[Featurizer]
    needs: ClassVar[tuple[str, ...]] = ()

    def records(self) -> tuple[Record, ...]:
        """Return records that have what the featurizer needs."""
        return example_records()[:NUM_RECORDS]

    def arrays(self) -> list[Arrays]:
        """Featurize the records."""
        given = [self.featurizer(record) for record in self.records()]
        arrays = [row for row in given if row is not None]
        assert len(arrays) == len(given) > 0
        return arrays

    def test_arrays_are_finite_and_as_the_fields_say(self) -> None:
        """Names, types and shapes are as declared, and ragged axes have the same length."""
        fields = {field.name: field for field in self.featurizer.fields}
        for arrays in self.arrays():
            assert arrays.keys() == fields.keys()
            lengths: dict[str, int] = {}
            for name, values in arrays.items():
                field = fields[name]
                assert values.dtype == field.dtype, name
                assert bool(np.isfinite(values).all()), name
                ragged = field.axis != "material"
                assert values.shape[ragged:] == field.item_shape, name
                if ragged:
                    assert lengths.setdefault(field.axis, len(values)) == len(values), name
            for name, field in fields.items():
                if field.counted_from is not None and arrays[name].size:
                    assert arrays[name].min() >= 0, name
                    assert arrays[name].max() < lengths[field.counted_from], name

    def test_the_same_twice_and_after_pickling(self) -> None:
        """All workers get the same numbers, bit for bit."""
        twin = sent(self.featurizer)
        for record, expected in zip(self.records(), self.arrays(), strict=True):
            for featurizer in (self.featurizer, twin):
                again = featurizer(record)
                assert again is not None
                for name, values in expected.items():
                    np.testing.assert_array_equal(again[name], values)

    def test_survives_json(self) -> None:
        """The same settings can be read back from the card of a checkpoint."""
        adapter = TypeAdapter(type(self.featurizer))
        assert adapter.validate_json(adapter.dump_json(self.featurizer)) == self.featurizer

    def test_records_are_left_alone(self) -> None:
        """A call neither writes to its record nor returns the record's own memory."""
        for record in self.records():
            untouched = copy.deepcopy(record)
            arrays = self.featurizer(record)
            assert arrays is not None
            for values in arrays.values():
                if values.flags.writeable:
                    values[...] = 0
            np.testing.assert_equal(dataclasses.asdict(record), dataclasses.asdict(untouched))

    def test_nothing_in_gives_nothing_out(self) -> None:
        """Without what the featurizer needs, the modality is missing, which is not an error."""
        for record in self.records() if self.needs else ():
            left = {name: part for name, part in record.parts.items() if name not in self.needs}
            assert self.featurizer(dataclasses.replace(record, parts=left)) is None
