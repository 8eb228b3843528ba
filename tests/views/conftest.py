"""What several tests of the page share: it is slow to make."""

from __future__ import annotations

import pytest

from dissensus.views.html import report_page

from .hostile import hostile_run


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory) -> str:
    return report_page(hostile_run(tmp_path_factory.mktemp("hostile")))
