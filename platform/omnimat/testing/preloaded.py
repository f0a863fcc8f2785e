"""What the server that forks test workers imports once, so that they need not.

DeepSpeed imports torch's compiler on its first ``initialize``, for an optimizer we do not use; it
takes longer than any of our tests.
"""

import gc
import os

os.environ |= {"DS_ACCELERATOR": "cpu", "TORCHINDUCTOR_COMPILE_THREADS": "1"}

import deepspeed
import deepspeed.runtime.zero.muon.muon_optimizer  # noqa: F401

import omnimat.training.loop  # noqa: F401

gc.freeze()  # a worker's collection need not walk, and so copy, all that was imported
