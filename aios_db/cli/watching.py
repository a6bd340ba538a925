"""`aios doctor --watch`: the memory of devices and of the machine, again and again."""

from __future__ import annotations

import time
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from aios_db.cli.output import json_text
from aios_db.schema.config import Config

_MIB = 1 << 20


def watch_memory(config: Config, seconds: float, *, as_json: bool) -> None:
    """Print a line, or a JSON object in a line, every so many ``seconds`` until interrupted."""
    while True:
        state = memory_state(config)
        now = datetime.now().astimezone()
        if as_json:
            click.echo(json_text({"at": now.isoformat(timespec="seconds"), **state}, indent=None))
        else:
            click.echo(f"{now:%H:%M:%S}  {device_line(state['device'])}; {_machine_line(state['memory'])}")
        time.sleep(seconds)


def memory_state(config: Config) -> dict[str, Any]:
    """Return the bytes of the configured device, and of the machine or control group (None: not told)."""
    from aios_db.engine.backends.devices import find_device
    from aios_db.engine.backends.vram import idle_report
    from aios_db.engine.weights.pressure import read_memory

    memory = read_memory()
    device = asdict(idle_report(find_device(config.device)))
    told = {name: device[name] for name in ("device", "name", "total", "used")}
    return {"device": told, "memory": asdict(memory) if memory else None}


def device_line(device: dict[str, Any]) -> str:
    """Return one line about a device's memory."""
    name = f"{device['device']}, {device['name']}"
    if not device["total"]:
        return f"{name}: no memory of its own"
    used = "use not told" if device["used"] is None else f"{_mib(device['used'])} used"
    return f"{name}: {used} of {_mib(device['total'])}"


def _machine_line(memory: dict[str, int] | None) -> str:
    if memory is None:
        return "memory not told"
    return f"{_mib(memory['available'])} of {_mib(memory['total'])} memory available"


def _mib(size: int) -> str:
    return f"{size / _MIB:,.0f} MiB"
