from __future__ import annotations

import os
import subprocess
import sys


def run(tmp_path, *arguments):
    """Run `aios` without a network, with a hub cache of our own."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_CACHE": str(tmp_path / "hub"),
        "AIOS_ENGINE__MODELS_DIR": str(tmp_path / "models"),
    }
    return subprocess.run(
        [sys.executable, "-m", "aios_db.cli", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_convert_from_the_hubs_cache(tmp_path):
    repository = tmp_path / "hub" / "models--me--encoder"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    (snapshot / "config.json").write_text('{"model_type": "unheard-of"}')
    found = run(tmp_path, "models", "convert", "me/encoder")
    assert found.returncode == 1
    assert "unheard-of" in found.stderr, "the cached config.json was read"


def test_convert_of_what_is_nowhere(tmp_path):
    missing = run(tmp_path, "models", "convert", "me/none")
    assert missing.returncode == 1
    assert missing.stderr.startswith("error: me/none is no directory here and cannot be fetched from the hub")
    assert missing.stderr.count("\n") == 1
