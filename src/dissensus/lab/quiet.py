"""Silence from the frameworks: their bars, notices and network look-ups."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from dissensus._optional import require

__all__ = ["QUIET_ON_CPU", "quiet_frameworks"]

QUIET_ON_CPU = {
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
    "bf16": False,
    "gradient_checkpointing": False,
    "dataloader_pin_memory": False,
}
"""Arguments of TRL's configuration that every training of the lab has."""

_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    # Threads that wait by spinning slow a shared machine several-fold: 3 s a step became 15 s.
    "OMP_WAIT_POLICY": "PASSIVE",
}


@contextmanager
def quiet_frameworks() -> Iterator[None]:
    """Only errors of transformers, datasets, accelerate and TRL are shown inside the block.

    The environment is set before these packages are first imported, because they read them
    on import; they stay set, everything else is put back.

    Raises:
        MissingDependencyError: The extra `lab` is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    transformers = require("transformers", "lab")
    datasets = require("datasets", "lab")
    require("trl", "lab")
    # A bar is a property of the process, a level of its logger: both are put back afterwards.
    bars = transformers.utils.logging.is_progress_bar_enabled()
    data_bars = datasets.utils.are_progress_bars_disabled()
    loggers = [
        logging.getLogger(name) for name in ("transformers", "accelerate", "trl", "datasets")
    ]
    levels = [logger.level for logger in loggers]
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Theirs to fix, not the reader's to read.
            warnings.filterwarnings("ignore", module=r"(transformers|trl|accelerate|torch)\b")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers.utils.logging.enable_progress_bar()
        if not data_bars:
            datasets.enable_progress_bars()
