from omnimat.sources.summary import summary


def test_reasons_are_grouped_counted_and_shown_by_two_examples():
    failures = [
        ("a", "overlapping atoms: 0.1 angstrom apart"),
        ("b", "partial occupancy: a site holds Fe0.5 (b.cif)"),
        ("c", "overlapping atoms: 0.2 angstrom apart"),
        ("d", f"overlapping atoms: {'very ' * 40}close"),
        ("e", "no structure"),
        ("f\x1b[31m", "partial occupancy: a site holds Ni (c d.cif.gz)"),
    ]
    text = summary("mine", 19_994, failures)
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line.isprintable() for line in lines)
    assert "19,994" in lines[0]
    assert "; 6 " in lines[0]
    counts = [line.split(maxsplit=1) for line in lines if line.split()[0].isdigit()]
    assert counts == [["3", "overlapping atoms"], ["2", "partial occupancy"], ["1", "no structure"]]
    assert "a: overlapping atoms: 0.1 angstrom apart" in text
    assert "d: " not in text


def test_all_accepted_is_one_line():
    assert summary("mine", 3, []).count("\n") == 0


def test_many_different_reasons_do_not_fill_the_screen():
    text = summary("mine", 0, [(str(i), f"reason {i}") for i in range(100)])
    assert text.count("\n") < 45
    assert "88 other reasons" in text


def test_what_is_not_read_stands_at_the_end():
    lines = summary("mine", 3, [("a", "no structure")], ["not read: 2 .docx (a.docx, b.docx)"])
    assert lines.splitlines()[-1] == "not read: 2 .docx (a.docx, b.docx)"
