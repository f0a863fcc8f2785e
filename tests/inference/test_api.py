"""What omnimat offers in Python: whoever changes it breaks somebody's program, and sees so here."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest

import omnimat
from omnimat.inference.card import PackageCard
from omnimat.inference.package import Package

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "platform/omnimat/docs/python.md"
SIGNATURES = {
    "load": (
        "(path: 'str | os.PathLike[str]', device: 'str | None' = None, *, "
        "precision: 'Precision | None' = None) -> 'Model'"
    ),
    "Model.embed": (
        "(self, inputs: 'Any', modality: 'str | None' = None, *, "
        "columns: 'Columns | None' = None, strict: 'bool' = False, progress: 'bool' = True) "
        "-> 'Embeddings'"
    ),
    "Model.predict": (
        "(self, inputs: 'Any', *, columns: 'Columns | None' = None, strict: 'bool' = False, "
        "progress: 'bool' = True) -> 'pd.DataFrame'"
    ),
    "Model.search": (
        "(self, query: 'Any', index: 'Index | str | os.PathLike[str]', top: 'int' = 10, *, "
        "modality: 'str | None' = None) -> 'pd.DataFrame'"
    ),
    "index": (
        "(model: 'Model', inputs: 'Any', path: 'str | os.PathLike[str]', *, "
        "modality: 'str | None' = None, columns: 'Columns | None' = None, "
        "known: 'str | os.PathLike[str] | None' = None, id_column: 'str' = 'material_id', "
        "strict: 'bool' = False, progress: 'bool' = True) -> 'Index'"
    ),
    "screen": (
        "(model: 'Model', index: 'Index | str | os.PathLike[str]', *, "
        "where: 'str | None' = None, near: 'Any' = None, modality: 'str | None' = None, "
        "elements: 'Sequence[str]' = (), exclude_elements: 'Sequence[str]' = (), "
        "stable: 'float | None' = None, largest: 'str | None' = None, "
        "smallest: 'str | None' = None, top: 'int' = 50) -> 'pd.DataFrame'"
    ),
    "Index.open": "(path: 'str | os.PathLike[str] | UPath') -> 'Self'",
    "Index.left_out": "(self) -> 'pd.DataFrame'",
    "Transformer": (
        "(model: 'Model | str | os.PathLike[str]', modality: 'str | None' = None, *, "
        "bad: \"Literal['error', 'nan']\" = 'error', device: 'str | None' = None) -> 'None'"
    ),
    "Transformer.fit": "(self, X: 'Any', y: 'Any' = None) -> 'Transformer'",
    "Transformer.transform": "(self, X: 'Any') -> 'NDArray[np.float32]'",
    "Transformer.get_feature_names_out": (
        "(self, input_features: 'Any' = None) -> 'NDArray[np.object_]'"
    ),
}
ATTRIBUTES = {
    "Embeddings": {"names", "vectors", "notes"},
    "Index": {"place", "card", "materials", "embeddings"},
    "Model": {"card", "embed", "modalities", "networks", "predict", "search"},
}


def found(name):
    value = omnimat
    for part in name.split("."):
        value = getattr(value, part)
    return value


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_signature_stays_as_it_is(name):
    assert str(inspect.signature(found(name))) == SIGNATURES[name]
    assert inspect.getdoc(found(name))


def test_nothing_else_is_public(packed):
    named = {name.partition(".")[0] for name in SIGNATURES} | ATTRIBUTES.keys() | {"__version__"}
    assert set(omnimat.__all__) == set(dir(omnimat)) == named
    for kind in (omnimat.Embeddings, omnimat.Index):
        fields = {field.name for field in dataclasses.fields(kind)}
        assert fields == ATTRIBUTES[kind.__name__]
    model = omnimat.load(packed)
    assert {name for name in dir(model) if not name.startswith("_")} == ATTRIBUTES["Model"]
    assert isinstance(model.card, PackageCard)


def test_the_page_tells_all_of_it(packed):
    text = PAGE.read_text()
    assert set(re.findall(r"omnimat\.(\w+)", text)) >= set(omnimat.__all__)
    for name in (*SIGNATURES, *(one for names in ATTRIBUTES.values() for one in names)):
        last = name.rpartition(".")[2]
        forms = (f"`{last}`", f".{last}(", f"omnimat.{last}(")
        assert any(one in text for one in forms), name
    for name in SIGNATURES:
        for parameter in inspect.signature(found(name)).parameters:
            assert parameter in {"self", "X", "y", "input_features"} or f"`{parameter}" in text
    # Every key of a card that a program may read.
    for key in PackageCard.model_fields:
        assert f"`{key}`" in text


def test_what_is_asked_for_wrongly_is_told(packed):
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = omnimat.nothing
    with pytest.raises(omnimat.inference.model.UserError, match="precision: 'fp8' is none of"):
        omnimat.load(packed, precision="fp8")
    assert Package(packed).card.name == "sweep"
