"""Of two processes that put memories into the joint space, one does, and the other finds what it has left."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
from joint_world import COLOURS, pairs, picture, seen
from numpy.typing import NDArray

import aios_db

World = Callable[..., aios_db.Connection]
ROOT = Path(__file__).parents[2]

_OTHER = """
import sys
sys.path.insert(0, sys.argv[1])
import aios_db
from joint_world import register, seen

def slowly(pictures):
    if begun:
        print("embedding", flush=True)
        sys.stdin.readline()
    return seen(pictures)

begun = False
config = {"engine": {"models_dir": sys.argv[3]}, "device": {"target": "cpu"}, "cpu": {"backend": "standard"}}
with aios_db.connect(sys.argv[2], config=config | {"storage": {"maintenance_delay_s": 3600.0}}) as con:
    con.register_encoder("quarters", "image", 12, slowly, size=32)
    begun = True
    con.optimize()
    print("done", flush=True)
"""


def test_one_embeds_and_the_other_waits_for_it(world: World, tmp_path: Path) -> None:
    with world() as con:
        con.fit_fusion(pairs())
    with aios_db.connect(tmp_path / "agent.aios") as con:  # without the encoder
        con.remember([{"image": picture(colour, 1)} for colour in COLOURS])
    command = [sys.executable, "-c", _OTHER, str(Path(__file__).parent)]
    command += [str(tmp_path / "agent.aios"), str(tmp_path / "models")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert other.stdin is not None and other.stdout is not None
    assert other.stdout.readline() == "embedding\n"
    embedded: list[int] = []

    def counted(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        embedded.append(len(pictures))
        return seen(pictures)

    with world() as con:
        con.register_encoder("quarters", "image", 12, counted, size=32)
        embedded.clear()  # what the gate was given
        con.store.maintain()  # does not wait
        waiting = threading.Thread(target=con.optimize)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive() and not embedded
        missing = "SELECT count(*) FROM memories WHERE joint_embedding IS NULL"
        assert con.execute(missing).fetchone() == (8,)
        other.stdin.close()
        assert other.stdout.read().endswith("done\n") and other.wait() == 0
        other.stdout.close()
        waiting.join()
        assert not embedded and con.execute(missing).fetchone() == (0,)
        assert not list(con.store.path.glob("reembed_*"))
