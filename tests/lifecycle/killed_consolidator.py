"""Consolidates a database cluster by cluster, until it is killed."""

from __future__ import annotations

import sys

import aios_db

with aios_db.connect(sys.argv[1], config={"engine": {"models_dir": sys.argv[2]}}) as con:
    con.warm()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while con.consolidate(max_clusters=1):
        pass
    sys.stdout.write("done\n")
    sys.stdout.flush()
