import numpy as np
import pytest

from omnimat.modalities.text.augment import mask_tokens, sample_sentences, sentences

TEXT = (
    "NaCl is Halite, Rock Salt structured and crystallizes in the cubic Fm-3m space group. "
    "Na(1) is bonded to six equivalent Cl(1) atoms, e.g. octahedra. All bonds are 2.82 Å. "
    "(It melts at 801 C.) Is it salty? Yes!"
)


def test_sentences_end_before_a_capital():
    assert sentences(TEXT) == [
        "NaCl is Halite, Rock Salt structured and crystallizes in the cubic Fm-3m space group.",
        "Na(1) is bonded to six equivalent Cl(1) atoms, e.g. octahedra.",
        "All bonds are 2.82 Å.",
        "(It melts at 801 C.)",
        "Is it salty?",
        "Yes!",
    ]
    assert sentences("  ") == []


def test_each_sentence_is_kept_with_the_probability_and_moves():
    generator = np.random.default_rng(0)
    found, kept, orders = sentences(TEXT), np.zeros(6), set()
    for _ in range(2000):
        view = sentences(sample_sentences(TEXT, generator))
        assert 1 <= len(view) == len(set(view))
        assert set(view) <= set(found)
        kept += [sentence in view for sentence in found]
        orders.add(tuple(view))
    # One of 64 draws is empty and gets one of six sentences, which makes 0.5 + 1/384. The standard
    # error of 2,000 draws is 0.011.
    np.testing.assert_allclose(kept / 2000, 0.503, atol=0.04)
    assert len(orders) > 500  # of 1,956 possible ones


def test_probability_of_zero_keeps_one_and_of_one_keeps_all():
    generator = np.random.default_rng(1)
    singles = {sample_sentences(TEXT, generator, 0) for _ in range(200)}
    assert singles == set(sentences(TEXT))
    whole = sample_sentences(TEXT, generator, 1)
    assert sorted(whole) == sorted(TEXT)


@pytest.mark.parametrize("text", ["", "no end and no capital"])
def test_texts_of_one_sentence_or_none_stay(text):
    assert sample_sentences(text, np.random.default_rng(2)) == text


def test_masking_spares_special_tokens():
    ids = np.array([101, *range(1000, 1040), 102, 0, 0, 0], dtype=np.int32)
    before = ids.copy()
    generator = np.random.default_rng(3)
    times = np.zeros(len(ids))
    for _ in range(500):
        masked, where = mask_tokens(ids, generator, mask_id=103, special_ids=(0, 101, 102))
        assert where.sum() == 6  # 15 % of 40
        assert (masked[where] == 103).all()
        np.testing.assert_array_equal(masked[~where], ids[~where])
        assert masked.dtype == ids.dtype
        times += where
    assert not times[[0, 41, 42, 43, 44]].any()
    # The standard deviation of 500 draws with probability 0.15 is 0.016.
    np.testing.assert_allclose(times[1:41] / 500, 0.15, atol=0.065)
    np.testing.assert_array_equal(ids, before)


def test_reproducible_and_independent_views():
    ids = np.arange(1000)
    generator = np.random.default_rng(4)
    first, second = (mask_tokens(ids, generator, mask_id=-1)[0] for _ in range(2))
    again, _ = mask_tokens(ids, np.random.default_rng(4), mask_id=-1)
    np.testing.assert_array_equal(first, again)
    assert (first != second).any()
    views = [sample_sentences(TEXT, np.random.default_rng(5)) for _ in range(2)]
    assert views[0] == views[1]


def test_nothing_to_mask():
    masked, where = mask_tokens(np.array([101, 102]), np.random.default_rng(6), 103, (101, 102))
    assert masked.tolist() == [101, 102]
    assert not where.any()
