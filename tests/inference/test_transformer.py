"""The transformer of scikit-learn, where scikit-learn uses it."""

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

import omnimat
from omnimat import Transformer
from omnimat.base.errors import UserError
from omnimat.materials.crystals import to_pymatgen

TARGET = "volume_angstrom3_per_atom"


@pytest.fixture(scope="module")
def targets(records):
    return np.array([record.properties[TARGET] for record in records])


def test_it_embeds_as_the_model_does(packed, records):
    model = omnimat.load(packed)
    for given in (model, str(packed), packed):
        transformer = Transformer(given)
        vectors = transformer.fit_transform(records[:5])
        np.testing.assert_array_equal(vectors, model.embed(records[:5]).vectors)
        names = transformer.get_feature_names_out()
        assert names.shape == vectors.shape[1:]
        assert names[:2].tolist() == ["structure_0", "structure_1"]


def test_it_is_cloned_and_its_parameters_are_set(packed):
    model = omnimat.load(packed)
    transformer = Transformer(model, "structure", bad="nan")
    again = clone(transformer)
    assert again.get_params() == transformer.get_params()
    assert again.model is model
    assert again.set_params(bad="error").bad == "error"
    assert "Transformer" in repr(transformer)


def test_it_works_in_a_pipeline_under_cross_validation(packed, records, targets):
    """The encoder was trained on this target, so a linear model on it must find it again."""
    pipeline = make_pipeline(Transformer(omnimat.load(packed)), Ridge(1e-3))
    scores = cross_val_score(pipeline, records, targets, cv=3)
    assert scores.mean() > 0.5
    pipeline.set_output(transform="default")
    search = GridSearchCV(pipeline, {"ridge__alpha": [1e-3, 1e9]}, cv=2)
    assert search.fit(records, targets).best_params_ == {"ridge__alpha": 1e-3}


def test_a_bad_input_is_an_error_or_a_row_of_nan(packed, records):
    given = [records[0], "no-such.cif", records[1]]
    with pytest.raises(UserError, match=r"no-such\.cif"):
        Transformer(packed).transform(given)
    vectors = Transformer(packed, bad="nan").transform(given)
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, False]
    for wrong, told in (({"bad": "ignore"}, "bad: 'ignore'"), ({"modality": "dos"}, "'dos'")):
        with pytest.raises(UserError, match=told):
            Transformer(packed, **wrong).transform(given)
    with pytest.raises(UserError, match="'dos'"):
        Transformer(packed, "dos").get_feature_names_out()


def test_every_input_is_one_row(packed, records, tmp_path):
    for name in "ab":
        to_pymatgen(records[0].structure).to(filename=str(tmp_path / f"{name}.cif"))
    several = str(tmp_path / "*.cif")
    with pytest.raises(UserError, match="X: an input holds several materials"):
        Transformer(packed).transform([records[0], several])
    assert len(Transformer(packed).transform(several)) == 2


def test_another_model_is_opened_when_it_is_named(packed, storage, records, tmp_path):
    from omnimat.inference.build import package

    package("pre", storage, tmp_path / "pre")
    transformer = Transformer(packed)
    first = transformer.transform(records[:2])
    second = transformer.set_params(model=tmp_path / "pre").transform(records[:2])
    assert not np.array_equal(first, second)
    assert "_opened" not in transformer.__getstate__()
