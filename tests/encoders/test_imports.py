import pkgutil
import subprocess
import sys

import omnimat.encoders


def test_no_encoder_loads_an_engine() -> None:
    names = [f"omnimat.encoders.{m.name}" for m in pkgutil.iter_modules(omnimat.encoders.__path__)]
    assert "omnimat.encoders.potnet" in names
    program = f"import sys, {', '.join(names)}; print({{'ray', 'deepspeed'}} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
