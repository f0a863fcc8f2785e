"""The tutorials do what they say; the third up to what only a trained model can find."""

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_a_map_and_a_search(run_tutorial, tmp_path):
    made = run_tutorial("2_map_and_search")
    assert made["nearest"][0] == "NaCl"
    assert {"KCl", "KBr"} & set(made["nearest"][1:4])
    assert made["points"].shape == (26, 2)
    page = (tmp_path / "runs/map.html").read_text()
    assert all(name in page for name in made["names"])


def test_a_measured_pattern_to_candidate_phases(run_tutorial):
    made = run_tutorial("3_pattern_to_phases")
    assert "jobs/crystals/CaF2.cif" in made["phases"][:3]


def test_adding_a_modality(tmp_path):
    """In a process of its own, which has not looked for parts of other packages yet."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "tests").symlink_to(REPOSITORY / "tests")
    script = REPOSITORY / "jobs/tutorials/5_adding_a_modality.py"
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr
    assert "phonon_dos" in done.stdout
    assert "torch.Size([3, 16])" in done.stdout
    assert "'modalities.phonon_dos.encoder.wide'; did you mean 'width'?" in done.stdout
    assert done.stdout.rstrip().endswith("('structure', 'phonon_dos')")


def test_screening(run_tutorial):
    made = run_tutorial("4_screening")
    assert len(made["index"]) == 26
    assert len(made["index"].left_out()) == 0
    hits = made["hits"]
    assert hits["reduced_formula"].iloc[0] == "NaCl"
    assert set(hits["reduced_formula"]) <= {
        "NaCl",
        "KCl",
        "KBr",
        "NaF",
        "LiF",
        "MgO",
        "CaO",
        "CaF2",
    }
    assert (hits["known.density_g_per_cm3"] < 4).all()
    wide = set(made["wide"]["reduced_formula"])
    assert "NaCl" in wide
    assert not wide & {"Cu", "Fe", "GaAs"}
