import subprocess
import sys

import numpy as np
import pytest

from omnimat.modalities.text.embedding import TextEmbedding, hashed_ngrams

TEXT = "NaCl is Halite, Rock Salt structured and crystallizes in the cubic Fm-3m space group."


def test_source_decides(record_of, nacl):
    stored = np.arange(768, dtype=np.float16) / 768
    both = record_of(nacl, text=TEXT, text_embedding=stored)
    only_text = record_of(nacl, text=TEXT)
    hashed = hashed_ngrams(TEXT, 768).astype(np.float32)
    for source in ("stored", "stored_or_hashed"):
        np.testing.assert_array_equal(TextEmbedding(source=source)(both)["embedding"], stored)
    np.testing.assert_array_equal(TextEmbedding(source="hashed")(both)["embedding"], hashed)
    either = TextEmbedding(source="stored_or_hashed")(only_text)
    np.testing.assert_array_equal(either["embedding"], hashed)
    assert TextEmbedding()(only_text) is None
    assert TextEmbedding(source="stored_or_hashed")(record_of(nacl)) is None
    assert TextEmbedding(source="hashed")(record_of(nacl, text=" ...")) is None


def test_hashing_sees_words_and_their_order():
    one = hashed_ngrams("sodium chloride", 768)
    assert np.linalg.norm(one) == pytest.approx(1)
    assert np.count_nonzero(one) == 3
    np.testing.assert_array_equal(one, hashed_ngrams("  Sodium, chloride!", 768))
    swapped = hashed_ngrams("chloride sodium", 768)
    # Two of the three n-grams are the same.
    assert one @ swapped == pytest.approx(2 / 3)


def test_hashing_is_the_same_in_another_process():
    code = (
        "from omnimat.modalities.text.embedding import hashed_ngrams;"
        f"print(hashed_ngrams({TEXT!r}, 768).tobytes().hex())"
    )
    other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert other.stdout.strip() == hashed_ngrams(TEXT, 768).tobytes().hex()


def test_wrong_width_is_refused(record_of, nacl):
    with pytest.raises(ValueError, match=r"\(512,\), not \(768,\)"):
        TextEmbedding()(record_of(nacl, text_embedding=np.zeros(512)))
