"""The lock under which archc imports Hydra and OmegaConf.

Their import takes 100 to 200 ms, and most documents need neither, so it waits until it is needed. Their modules import
each other in circles: two threads that start at different ends of a circle see half-made modules, or end in a
deadlock. So only the modules in `NEEDS_HYDRA` import them, and those are imported only inside `with IMPORTING:`, as
`tests/document/test_threads.py` checks.
"""

from __future__ import annotations

from threading import RLock

IMPORTING = RLock()

NEEDS_HYDRA = ("hydra_defaults", "hydra_grammar", "omegaconf_values")
"""The modules beside this one that import Hydra or OmegaConf."""
