"""What can be told from the arguments alone is told before any model is opened."""

import pytest
from click.testing import CliRunner

from omnimat.cli.main import main


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("predict absent NaCl -o no/such/t.csv", "--out: no/such is no folder"),
        ("embed absent NaCl -o no/t.npz", "--out: no is no folder"),
        ("screen absent absent -o no/t.csv", "--out: no is no folder"),
        ("screen absent absent --json -o t.jsonl", "--json, --out: "),
        ("search package NaCl", "--index: package is no run"),
    ],
)
def test_a_wrong_argument_ends_in_one_sentence(tmp_path, monkeypatch, command, reason):
    monkeypatch.setenv("OMNIMAT_STORAGE", str(tmp_path / "storage"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "package").mkdir()
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 2, result.output
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert [one.name for one in tmp_path.iterdir()] == ["package"]
