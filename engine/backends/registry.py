"""The CPU back ends by name. A new one is a file beside this one and a line here."""

from __future__ import annotations

from importlib import import_module

from aios_db.engine.backends.protocol import Backend

# The name of cpu.backend: "module:class". Tried in this order.
BACKENDS: dict[str, str] = {
    "standard": "aios_db.engine.backends.standard:Standard",
    "openvino": "aios_db.engine.backends.openvino:OpenVino",
    "ipex": "aios_db.engine.backends.ipex:Ipex",
    "compile": "aios_db.engine.backends.compile:Compile",
}

# What cpu.backend=auto times. torch.compile is left out: it compiles anew in each process, for tens of
# seconds, which only a long-lived service earns back; such a service names it.
AUTOMATIC = ("standard", "openvino", "ipex")


def get_backend(name: str) -> Backend:
    """Return the back end called ``name``, a key of `BACKENDS`."""
    module, cls = BACKENDS[name].split(":")
    backend: Backend = getattr(import_module(module), cls)()
    return backend
