import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
from upath import UPath

from omnimat.base.checked_json import write_checked_json
from omnimat.base.errors import UserError
from omnimat.base.workspace import Workspace
from omnimat.modalities.batch import collate, feature_table
from omnimat.modalities.text.augment import TextAugmentation
from omnimat.modalities.text.tokenizer import (
    CARD_FILE,
    SPECIAL_TOKENS,
    TokenizerSettings,
    fit_tokenizer,
)
from omnimat.modalities.text.tokens import TextTokens
from omnimat.testing.materials import no_records
from omnimat.testing.sent import sent

pytest.importorskip("tokenizers")

TEXTS = [
    "NaCl is Halite, Rock Salt structured and crystallizes in the cubic Fm-3m space group.",
    "Na¹⁺ is bonded to six equivalent Cl¹⁻ atoms. All Na-Cl bond lengths are 2.82 Å.",
    "CoO crystallizes in the cubic Fm-3m space group. CO is another thing.",
] * 2


@pytest.fixture(scope="module")
def fitted() -> str:
    return fit_tokenizer(TEXTS, TokenizerSettings(vocabulary_size=400))


def special(tokenizer: str) -> dict[str, int]:
    return {t["content"]: t["id"] for t in json.loads(tokenizer)["added_tokens"]}


def test_a_text_becomes_ids_between_cls_and_sep(fitted, record_of, nacl):
    featurizer = TextTokens(tokenizer=fitted)
    ids = featurizer(record_of(nacl, text=TEXTS[0]))["token_ids"]
    assert ids.dtype == np.int32
    known = special(fitted)
    assert set(known) == set(SPECIAL_TOKENS)
    assert (ids[0], ids[-1]) == (known["[CLS]"], known["[SEP]"])
    assert 2 < ids.size < len(TEXTS[0])  # pairs were merged
    assert ids.max() < featurizer.vocabulary_size <= 400
    assert featurizer(record_of(nacl)) is None


def test_no_character_is_unknown_and_case_is_kept(fitted, record_of, nacl):
    featurizer = TextTokens(tokenizer=fitted)
    strange = featurizer(record_of(nacl, text="Ωμέγα 漢 \U0001f52c"))["token_ids"]
    assert special(fitted)["[UNK]"] not in strange
    cobalt, oxide = (featurizer(record_of(nacl, text=t))["token_ids"] for t in ("Co", "CO"))
    assert not np.array_equal(cobalt, oxide)
    lower = fit_tokenizer(TEXTS, TokenizerSettings(vocabulary_size=400, lowercase=True))
    featurizer = TextTokens(tokenizer=lower)
    cobalt, oxide = (featurizer(record_of(nacl, text=t))["token_ids"] for t in ("Co", "CO"))
    np.testing.assert_array_equal(cobalt, oxide)


def test_a_long_text_loses_its_end_but_not_the_special_tokens(fitted, record_of, nacl):
    whole = TextTokens(tokenizer=fitted)(record_of(nacl, text=TEXTS[0]))["token_ids"]
    short = TextTokens(tokenizer=fitted, max_tokens=8)(record_of(nacl, text=TEXTS[0]))["token_ids"]
    np.testing.assert_array_equal(short, [*whole[:7], whole[-1]])


def test_fitting_gives_the_same_bytes_in_another_process(fitted):
    code = (
        "from omnimat.modalities.text.tokenizer import TokenizerSettings, fit_tokenizer;"
        f"print(ascii(fit_tokenizer({TEXTS!r}, TokenizerSettings(vocabulary_size=400))))"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert other.stdout.strip() == ascii(fitted)


def test_it_travels_and_its_ids_are_ragged(fitted, record_of, nacl):
    featurizer = sent(TextTokens(tokenizer=fitted))
    records = [record_of(nacl, text=TEXTS[0]), record_of(nacl), record_of(nacl, text=TEXTS[1])]
    batch = collate(feature_table(records, {"text": featurizer}), {"text": featurizer})
    arrays = batch.modalities["text"].arrays
    rows = zip(arrays["token_ids"], arrays["num_tokens"], strict=True)
    parts = [row[:length] for row, length in rows]
    assert batch.modalities["text"].rows.tolist() == [0, 2]
    for part, text in zip(parts, (TEXTS[0], TEXTS[1]), strict=True):
        np.testing.assert_array_equal(part, featurizer(record_of(nacl, text=text))["token_ids"])


def test_located_settings_need_nothing_else(fitted, tmp_path, monkeypatch, record_of, nacl):
    workspace = Workspace(UPath(tmp_path))
    by_name = workspace.tokenizer("words")
    by_name.parent.mkdir(parents=True)
    by_name.write_text(fitted)
    card = {"sha256": hashlib.sha256(fitted.encode()).hexdigest()}
    write_checked_json(by_name.with_name(CARD_FILE), card)
    monkeypatch.setenv("WORDS", str(by_name.parent))
    expected = TextTokens(tokenizer=fitted)
    for name in ("words", str(by_name), "$WORDS/tokenizer.json"):
        assert TextTokens(tokenizer=name).located(workspace, no_records) == expected
    assert TextTokens(tokenizer="words").vocabulary_size is None
    again = TextTokens.model_validate_json(expected.model_dump_json())
    by_name.unlink()
    assert again.located(workspace, no_records) == expected
    assert again(record_of(nacl, text=TEXTS[0])) is not None


@pytest.mark.parametrize(
    ("tokenizer", "message"),
    [("nowhere", "no folder of a Hugging Face model"), ("$NO_SUCH_NAME/t.json", "not set")],
)
def test_a_tokenizer_that_is_not_there(tokenizer, message, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match=f"featurizer.tokenizer: .*{message}"):
        TextTokens(tokenizer=tokenizer).located(Workspace(UPath(tmp_path)), no_records)


def test_a_file_that_is_no_tokenizer(tmp_path):
    path = tmp_path / "t.json"
    path.write_text("{}")
    with pytest.raises(UserError, match="not a tokenizer"):
        TextTokens(tokenizer=str(path)).located(Workspace(UPath(tmp_path)), no_records)


def test_the_tokenizer_says_which_tokens_are_special(fitted):
    featurizer = TextTokens(tokenizer=fitted)
    assert featurizer.mask_id == special(fitted)["[MASK]"] == 4
    assert featurizer.special_ids == set(special(fitted).values()) == set(range(5))
    roberta = TextTokens(tokenizer=fitted.replace("[MASK]", "<mask>"))
    assert roberta.mask_id == 4
    with pytest.raises(UserError, match=r"featurizer\.tokenizer: .*\[MASK\] or <mask>"):
        _ = TextTokens(tokenizer=fitted.replace("[MASK]", "[HIDE]")).mask_id


def test_a_view_masks_words_and_spares_special_tokens(fitted, record_of, nacl):
    featurizer, record = TextTokens(tokenizer=fitted), record_of(nacl, text=TEXTS[1])
    whole = featurizer(record)["token_ids"]
    augmentation = TextAugmentation(keep_probability=None, masked_tokens=0.15)
    masked = augmentation.view(record, featurizer, np.random.default_rng(0))["token_ids"]
    hidden = masked == featurizer.mask_id
    assert hidden.sum() == round(0.15 * (len(whole) - 2))
    assert masked.dtype == whole.dtype
    np.testing.assert_array_equal(masked[~hidden], whole[~hidden])
    assert not hidden[[0, -1]].any()
