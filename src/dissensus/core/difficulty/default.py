"""A model fitted to one real run, for before there is a history of one's own.

The run is Qwen2.5-Math-1.5B, GRPO with groups of 8 on 1,209 mathematics prompts, 44 to 57 visits a
prompt (github.com/ypwang61/One-Shot-RLVR, `data/acc_step_500.json`, Apache-2.0). `fit_model` was
given the prompts at even places of the file, from `neutral_model()` with strength 1; the others
were kept to measure it (docs/difficulty.md). A tick is a visit of that run, 9.4 optimiser steps.
"""

from __future__ import annotations

import numpy as np

from dissensus.core.difficulty.model import SolveRateModel

__all__ = ["DEFAULT_MODEL"]

# fmt: off
DEFAULT_MODEL = SolveRateModel(
    prior=np.array([
        0.0918, 0.0904, 0.0846, 0.0763, 0.0701, 0.0663, 0.0614, 0.0539, 0.0463, 0.0399,
        0.0336, 0.0286, 0.0275, 0.0314, 0.0379, 0.0418, 0.0409, 0.0346, 0.0237, 0.0127,
        0.0063,
    ]),
    up=np.array([
        0.0118, 0.0156, 0.0191, 0.0259, 0.0370, 0.0513, 0.0630, 0.0727, 0.0814, 0.0882,
        0.0924, 0.0957, 0.0982, 0.0951, 0.0869, 0.0798, 0.0742, 0.0680, 0.0626, 0.0188,
    ]),
    down=np.array([
        0.0230, 0.0061, 0.0053, 0.0045, 0.0041, 0.0042, 0.0050, 0.0055, 0.0054, 0.0050,
        0.0049, 0.0051, 0.0052, 0.0055, 0.0058, 0.0057, 0.0056, 0.0056, 0.0056, 0.0643,
    ]),
)
# fmt: on
