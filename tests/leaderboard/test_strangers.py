"""What strangers send: no hidden character, no key twice and no infinity gets in or is obeyed."""

import csv
import io
import json

import pytest
from click.testing import CliRunner
from pydantic import ValidationError

from omnimat.base.errors import UserError
from omnimat.cli.main import main
from omnimat.leaderboard.exchange import from_json, to_csv, to_json
from omnimat.leaderboard.row import Row
from omnimat.leaderboard.store import LeaderboardStore

ATTACKS = {
    "escape": "\x1b[2J\x1b[1;1H",
    "title": "\x1b]0;owned\x07",
    "null": "a\x00b",
    "delete": "a\x7fb",
    "carriage return": "bad\rgood",
    "line": "one\ntwo",
    "c1": "\x9b2J",
    "override": "\u202edoog",
    "isolate": "\u2066a\u2069",
    "mark": "a\u200fb",
    "zero width": "C\u200bGCNN",
    "joiner": "C\u200dGCNN",
    "byte order mark": "\ufeffCGCNN",
    "line separator": "a\u2028b",
    "tag": "CGCNN\U000e0041",
    "filler": "CGCNN\u3164",
}
TEXTS = [name for name, field in Row.model_fields.items() if field.annotation is str]
NESTED = ["config", "hyperparameters", "details", "hardware"]
NAMES = ["Ενέργεια", "形成能", "e\u0301tude", "µ ± Å", "مدل", "🧪"]


@pytest.fixture
def document(make_row):
    return json.loads(to_json([make_row()]))


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_no_writer_hides_a_character(make_row, attack):
    for name in ("task", "model", "variant", "unit", "run_name", "dataset"):
        with pytest.raises(ValidationError, match=rf"(?s){name}\n.* hidden character U\+"):
            make_row(**{name: attack})


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_of_an_imported_row_hides_a_character(document, name):
    if name in {"config_hash", "checked_with"}:
        return  # the first is looked up, the second is not believed
    for number, attack in enumerate(ATTACKS.values()):
        document["rows"][0][name] = attack
        with pytest.raises(UserError) as caught:
            from_json(json.dumps(document), "board.json")
        assert f"board.json: rows.0.{name}: " in str(caught.value), number
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", NESTED)
def test_nothing_inside_a_field_hides_a_character(make_row, name):
    attacks = [attack for attack in ATTACKS.values() if attack != ATTACKS["line"]]
    for attack in attacks:
        for value in ({"a": [attack]}, {"a": {attack: 1}}):
            with pytest.raises(ValidationError, match=rf"(?s){name}\n.* hidden character U\+"):
                make_row(**{name: value})
    assert getattr(make_row(**{name: {"prompt": "two\nlines"}}), name) == {"prompt": "two\nlines"}


def test_names_of_real_languages_come_back(make_row, tmp_path):
    store = LeaderboardStore(f"sqlite:///{tmp_path / 'board.sqlite'}")
    store.upsert([make_row(model=name) for name in NAMES])
    assert {row.model for row in from_json(to_json(store.rows()), "b")} == set(NAMES)


@pytest.fixture
def poisoned(make_row, tmp_path, execute):
    """A database that an earlier omnimat, or another program, has put such names into."""
    url = f"sqlite:///{tmp_path / 'board.sqlite'}"
    LeaderboardStore(url).upsert([make_row(model=name) for name in ATTACKS])
    for name, attack in ATTACKS.items():
        codes = ",".join(str(ord(one)) for one in attack)
        execute(url, f"UPDATE leaderboard_groups SET model = char({codes}) WHERE model = '{name}'")
    return url


def test_what_is_in_a_database_already_is_escaped_in_a_terminal(poisoned):
    for command in (["show"], ["verify", "--all"]):
        result = CliRunner().invoke(main, ["leaderboard", *command, "--url", poisoned])
        assert result.exit_code in {0, 1}
        lines = result.output.replace("\n", "")
        assert lines.isprintable(), [one for one in lines if not one.isprintable()]
        for shown in (r"\x1b[2J", r"\x00", r"\x7f", r"\x9b", r"\u202e", r"\u200b", r"\U000e0041"):
            assert shown in lines


def test_what_is_in_a_database_already_is_escaped_in_csv_and_not_handed_on(poisoned):
    rows = LeaderboardStore(poisoned).rows()
    lines = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert len(lines) == len(ATTACKS)
    assert all(line["model"].isprintable() for line in lines if line["model"])
    with pytest.raises(UserError, match=r"rows\.\d+\.model: .*hidden character"):
        from_json(to_json(rows), "board.json")


DUPLICATES = [
    ('"task": "gap"', '"task": "gap", "task": "energy"'),
    ('"value": 0.1', '"value": 0.1, "value": 0.0'),
    ('"lr": 0.001', '"lr": 0.001, "lr": 1'),
    ('"format"', '"rows": [], "format"'),
    ('"cores": 2', '"cores": 2, "\\u0063ores": 3'),
]


@pytest.mark.parametrize(("once", "twice"), DUPLICATES)
def test_a_key_that_stands_twice_is_refused(make_row, once, twice):
    text = json.dumps(json.loads(to_json([make_row(task="gap")])))
    assert once in text
    with pytest.raises(UserError, match=r"board\.json is .*key '\w+' stands twice"):
        from_json(text.replace(once, twice, 1), "board.json")


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("once", ['"value": 0.1', '"wall_time_s": 12.5', '"lr": 0.001'])
def test_no_number_is_infinite(make_row, number, once):
    text = json.dumps(json.loads(to_json([make_row()])))
    assert once in text
    changed = text.replace(once, f"{once.partition(':')[0]}: {number}")
    with pytest.raises(UserError, match=r"board\.json"):
        from_json(changed, "board.json")


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000, '"\\ud800"'])
def test_what_overwhelms_a_parser_is_a_sentence(text):
    with pytest.raises(UserError, match=r"board\.json is no export"):
        from_json(text, "board.json")
