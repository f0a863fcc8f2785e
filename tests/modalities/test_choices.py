import pytest
from pydantic import ValidationError
from upath import UPath

from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.modalities.choices import ModalityChoice, ModalityChoices
from omnimat.modalities.structure.augment import StructureAugmentation
from omnimat.modalities.structure.potnet import PotNetSettings
from omnimat.modalities.text.tokenizer import TokenizerSettings, fit_tokenizer
from omnimat.testing.materials import no_records

WITHIN_5 = {"neighbors": "within_cutoff", "cutoff_angstrom": 5.0}
VORONOI = {"neighbors": "voronoi", "max_neighbors": None, "lattice_sums": "none"}


def structure(**keys: object) -> ModalityChoice:
    return ModalityChoices(structure=keys).structure


def test_potnet_is_the_default() -> None:
    assert structure().encoder == PotNetSettings()
    assert structure(encoder={"preset": "tiny"}).encoder == PotNetSettings(preset="tiny")


@pytest.mark.parametrize(
    ("encoder", "featurizer"),
    [
        ({"type": "potnet"}, {"lattice_sums": "in_encoder"}),
        ({"type": "potnet", "lattice_sums": False}, {"lattice_sums": "none"}),
        ({"type": "cgcnn"}, {"lattice_sums": "none"}),
        ({"type": "cgcnn"}, {}),
        ({"type": "painn"}, WITHIN_5),
        ({"type": "painn"}, WITHIN_5 | {"cutoff_angstrom": 6.0}),
        ({"type": "dimenetpp"}, WITHIN_5 | {"cutoff_angstrom": 7.0}),
        ({"type": "painn"}, VORONOI),
        ({"type": "gated_graph"}, VORONOI),
        ({"type": "gated_graph", "multiplicity": True}, VORONOI | {"multiplicity": True}),
        ({"type": "gated_graph"}, VORONOI | {"multiplicity": True}),
    ],
)
def test_a_featurizer_that_serves(encoder: dict, featurizer: dict) -> None:
    structure(encoder=encoder, featurizer=featurizer)


@pytest.mark.parametrize(
    ("encoder", "featurizer", "sentence"),
    [
        ({}, {"lattice_sums": "none"}, r"potnet .*featurizer\.lattice_sums"),
        (
            {"type": "cgcnn"},
            {"lattice_sums": "in_encoder"},
            r"cgcnn .*featurizer\.lattice_sums to none",
        ),
        (
            {"lattice_sums": False},
            {"lattice_sums": "in_encoder"},
            r"potnet .*featurizer\.lattice_sums to none",
        ),
        ({}, {"lattice_sums": True}, "'featurized', 'in_encoder' or 'none'"),
        ({"type": "painn"}, {}, r"painn .* 5\.0 angstrom.*featurizer"),
        ({"type": "dimenetpp"}, WITHIN_5, r"dimenetpp .* 7\.0 angstrom"),
        (
            {"type": "gated_graph", "multiplicity": True},
            VORONOI,
            r"gated_graph .*featurizer\.multiplicity to true",
        ),
    ],
)
def test_a_featurizer_that_does_not(encoder: dict, featurizer: dict, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        structure(encoder=encoder, featurizer=featurizer)


HASHED = {"source": "hashed"}
TOKENS = {"type": "text_tokens", "tokenizer": "words"}
TRANSFORMER = {"type": "text_transformer", "preset": "tiny"}


@pytest.mark.parametrize(
    "text",
    [
        {"featurizer": HASHED, "augmentation": {}},
        {"featurizer": TOKENS, "encoder": TRANSFORMER, "augmentation": {"masked_tokens": 0.15}},
    ],
)
def test_text_that_can_be_varied(text: dict) -> None:
    assert ModalityChoices(text=text).text.augmentation is not None


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ({"augmentation": {}}, r"stored embedding.*featurizer\.source"),
        (
            {"featurizer": HASHED, "augmentation": {"masked_tokens": 0.15}},
            "masked_tokens: .*set it to 0",
        ),
    ],
)
def test_text_that_cannot(text: dict, sentence: str) -> None:
    with pytest.raises(ValidationError, match=sentence):
        ModalityChoices(text=text)


def test_a_tokenizer_without_a_mask_is_refused_once_it_is_known(tmp_path) -> None:
    pytest.importorskip("tokenizers")
    tokenizer = fit_tokenizer(["NaCl is a salt."], TokenizerSettings(vocabulary_size=270))
    path = tmp_path / "tokenizer.json"
    text = {
        "featurizer": TOKENS | {"tokenizer": str(path)},
        "encoder": TRANSFORMER,
        "augmentation": {"masked_tokens": 0.15},
    }
    choices, workspace = ModalityChoices(text=text), Workspace(UPath(tmp_path))
    path.write_text(tokenizer)
    assert choices.located(workspace, no_records).text.augmentation == choices.text.augmentation
    path.write_text(tokenizer.replace("[MASK]", "[HIDE]"))
    with pytest.raises(UserError, match="no mask token"):
        choices.located(workspace, no_records)


def test_augmentations_are_asked_for_by_name() -> None:
    choices = ModalityChoices(
        structure={"augmentation": {"strain": 0.01}},
        dos={},
        charge_density={"augmentation": {}},
        xrd={"augmentation": {}},
    )
    assert list(choices.augmentations()) == ["structure", "charge_density", "xrd"]
    assert choices.augmentations()["structure"] == StructureAugmentation(strain=0.01)
    assert ModalityChoices(structure={}).augmentations() == {}
    with pytest.raises(ValidationError, match=r"dos\.augmentation"):
        ModalityChoices(dos={"augmentation": {}})
