"""The site that is made of docs/: it has every page, in a place, and is built without a warning."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SITE = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))


def pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    parts = nav.values() if isinstance(nav, dict) else nav
    return [page for part in parts for page in pages(part)]


def test_every_page_has_one_place() -> None:
    found = {path.name for path in (ROOT / "docs").glob("*.md")}
    assert sorted(pages(SITE["nav"])) == sorted(found)


def test_the_first_page_leads_to_every_other() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    assert {*re.findall(r"\]\((\w+\.md)\)", index), "index.md"} == set(pages(SITE["nav"]))


def test_it_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("zensical")
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    site = tmp_path / SITE["site_dir"]
    assert all((site / Path(page).stem / "index.html").is_file() for page in pages(SITE["nav"])[1:])
    assert "recall" in (site / "sql" / "index.html").read_text("utf-8")
