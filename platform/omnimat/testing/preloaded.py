"""What the server that forks test workers imports once, so that they need not.

The first step of any optimizer imports a part of torch's compiler; it takes longer than most tests.
"""

import gc
import os

os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"

import torch._dynamo  # noqa: F401

import omnimat.training.loop  # noqa: F401
from omnimat.training.engine import imported_deepspeed

imported_deepspeed("cpu")
import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: E402, F401

gc.freeze()  # a worker's collection need not walk, and so copy, all that was imported
