"""One Ray cluster of several processes for the tests here, where Ray is installed."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray.data", reason="Ray is in the environment of make test-verl")
    import ray

    is_ours = not ray.is_initialized()
    if is_ours:
        memory = 100 * 1024**2
        ray.init(
            address="local",
            num_cpus=7,
            include_dashboard=False,
            object_store_memory=memory,
            log_to_driver=False,
        )
    yield ray
    if is_ours:
        ray.shutdown()
