"""Identify an advantage function by calling it on designed batches."""

from dissensus.audit.blackbox.adapters import NUMPY_ADAPTERS
from dissensus.audit.blackbox.batch import Batch
from dissensus.audit.blackbox.identify import Identified, identify
from dissensus.audit.blackbox.subject import Adapter, CallError, Reply, Subject

__all__ = [
    "NUMPY_ADAPTERS",
    "Adapter",
    "Batch",
    "CallError",
    "Identified",
    "Reply",
    "Subject",
    "identify",
]
