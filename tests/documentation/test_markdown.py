from documentation.markdown import code_block, sections, with_links

TEXT = """\
# Title

Before.

## One

See [this](a.md#part) and `[not](this)`.

```
# no heading
[nor](this)
```

### Below

Deep.

## Two
"""


def test_links_are_found_outside_of_code_alone():
    found = []
    with_links(TEXT, lambda target: found.append(target) or target)
    assert found == ["a.md#part"]
    assert with_links(TEXT, lambda target: target) == TEXT
    assert "[this](/b)" in with_links(TEXT, lambda target: "/b")


def test_a_section_ends_where_the_next_of_its_level_begins():
    found = sections(TEXT)
    assert list(found) == ["Title", "One", "Below", "Two"]
    assert found["One"].startswith("See [this]")
    assert found["One"].endswith("### Below\n\nDeep.")
    assert "# no heading" in found["One"]
    assert found["Two"] == ""


def test_code_that_holds_fences_is_fenced_by_longer_ones():
    block = code_block("```\ncode\n```\n", "text")
    assert block.splitlines()[0] == "````text"
    assert block.splitlines()[-1] == "````"
