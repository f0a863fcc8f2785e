"""README.md opens with lines of Python, which do what it says."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
NUMBER = re.compile(r"-?\d+\.\d+")


def test_the_first_lines_print_what_they_say(tmp_path):
    """Up to the last digits, which differ between processors."""
    text = (REPOSITORY / "README.md").read_text()
    code, told = re.findall(r"```(?:python)?\n(.*?)```", text, re.DOTALL)[:2]
    shutil.copytree(REPOSITORY / "jobs/crystals", tmp_path, dirs_exist_ok=True)
    printed = subprocess.check_output([sys.executable, "-c", code], text=True, cwd=tmp_path)
    assert NUMBER.sub("", printed).split() == NUMBER.sub("", told).split()
    numbers = [[float(one) for one in NUMBER.findall(each)] for each in (printed, told)]
    assert len(numbers[0]) == len(numbers[1]) > 0
    assert all(abs(one - other) < 0.02 for one, other in zip(*numbers, strict=True))
    assert len(code.splitlines()) <= 10
