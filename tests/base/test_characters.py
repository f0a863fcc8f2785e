"""Hidden characters are found and escaped, and no name of a real language has one."""

import unicodedata

import pytest

from omnimat.base.characters import LAYOUT, escaped, hidden_in

NAMES = [
    "CGCNN",
    "µ-model, «deux»",
    "Ενέργεια σχηματισμού",
    "形成能预测",
    "生成エネルギー",
    "생성 에너지",
    "энергия",
    "ऊर्जा मॉडल",
    "نموذج الطاقة",
    "מודל אנרגיה",
    "e\N{COMBINING ACUTE ACCENT}tude",
    "Ångström ± 1 Å³",
    "naïve 🧪 model",
]
HIDDEN = [
    *map(chr, (*range(0x20), *range(0x7F, 0xA0))),
    *map(chr, (0xAD, 0x34F, 0x61C, 0x115F, 0x1160, 0x17B4, 0x180B, 0x180E)),
    *map(chr, (*range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070))),
    *map(chr, (0x2800, 0x3164, 0xD800, 0xDFFF, 0xFE0F, 0xFEFF, 0xFFA0, 0xFFF9)),
    *map(chr, (0xE0001, 0xE0041, 0xE0100)),
]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_real_languages_stay_as_they_are(name):
    assert hidden_in(name, "") is None
    assert escaped(name, "") == name


def test_each_hidden_character_is_found_wherever_it_stands():
    for one in HIDDEN:
        for text in (one, f"model{one}", f"{one}model", f"mo{one}del", f"é{one}"):
            assert f"U+{ord(one):04X}" in hidden_in(text, "")
            assert hidden_in({"deep": [{"er": text}]}, "") == hidden_in({"deep": {text: 1}}, "")
            assert hidden_in(escaped(text, ""), "") is None


def test_escapes_say_what_was_there():
    assert escaped("a\x1b[2J\x00b\u202ec\U000e0041") == r"a\x1b[2J\x00b\u202ec\U000e0041"
    assert escaped("two\nlines\tand more") == "two\nlines\tand more"
    assert escaped("two\nlines", allowed="") == r"two\nlines"


def test_what_is_controlled_by_unicode_is_hidden():
    every = (chr(number) for number in range(0x110000))
    controls = [one for one in every if unicodedata.category(one) in {"Cc", "Cf", "Zl", "Zp"}]
    assert [one for one in controls if hidden_in(one) is None] == sorted(LAYOUT)
