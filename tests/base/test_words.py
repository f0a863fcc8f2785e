"""Words of messages."""

from omnimat.base.words import natural


def test_numbers_in_names_are_ordered_as_numbers():
    names = ["fold 10 of 12", "fold 2 of 12", "fold b of 12", "fold 2.5 of 12"]
    assert sorted(names, key=natural) == [names[1], names[3], names[0], names[2]]
