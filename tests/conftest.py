"""Settings for every test: property tests that are the same on each run, and one thread for torch."""

from __future__ import annotations

import torch
from hypothesis import settings

settings.register_profile("rnnviz", derandomize=True, deadline=None, print_blob=False)
settings.load_profile("rnnviz")
torch.set_num_threads(1)
torch.set_warn_always(True)  # a warning given once only would hit whichever test came first
