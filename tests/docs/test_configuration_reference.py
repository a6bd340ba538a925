from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_reference_is_up_to_date():
    lines = runpy.run_path(str(DOCS / "make_configuration.py"))["reference"]()
    assert (DOCS / "configuration.md").read_text("utf-8") == "\n".join(lines) + "\n", (
        "run: python docs/make_configuration.py > docs/configuration.md"
    )
