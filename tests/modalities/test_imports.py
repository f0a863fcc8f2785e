import pkgutil
import subprocess
import sys

import omnimat.modalities


def test_no_modality_loads_an_engine() -> None:
    modules = pkgutil.walk_packages(omnimat.modalities.__path__, "omnimat.modalities.")
    names = [module.name for module in modules]
    assert "omnimat.modalities.structure.potnet" in names
    program = f"import sys, {', '.join(names)}; print({{'ray', 'deepspeed'}} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
