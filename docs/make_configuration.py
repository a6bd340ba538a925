"""Print the configuration reference: `python docs/make_configuration.py > docs/configuration.md`."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterator

from aios_db import config

INTRODUCTION = """\
# Configuration

Everything has a default; a file is only for what should differ. It is YAML:

```yaml
cpu:
  backend: openvino
  threads: 4
recall:
  k: 20
```

The first of these is read: the path given (`aios --config FILE`, `load_config(path)`), that of the variable
`AIOS_CONFIG`, `aios.yaml` in the working directory, in the database's directory, and in the user's
configuration folder (`~/.config/aios_db`, or under `$XDG_CONFIG_HOME`; on macOS
`~/Library/Application Support/aios_db`). A file that is named and not there is an error. One in the
working directory or a database's that belongs to another user (nor to root) is passed over with a warning;
name it to use it. All of it is read when a database is opened, and holds until it is closed:
`consolidator run` and `federation serve` follow a change of the file when they are started again.

Environment variables named `AIOS_SECTION__KEY` override it: `AIOS_CPU__BACKEND=standard`,
`AIOS_RECALL__K=5`, `AIOS_STRICT=true`. One that is nearly so named (`AIOS_RECALL_K`) is told as a wrong
value is.

A program can give single values, which hold over both: `aios_db.connect(path, config={"recall": {"k": 5}})`;
one that cannot be used raises `aios_db.ConfigError`. Relative paths are those of the working directory in
which the database is opened.

Elsewhere a value that cannot be used (an unknown key, a wrong type, out of range) is logged as an error with
its place (`aios.yaml:3: cpu.threads`, `$AIOS_CPU__THREADS`) and the value it would have replaced stays. With
`strict: true` it raises `aios_db.ConfigError` instead. An empty value and `null`
are the default. Of a key that stands twice, be it under an older name, the last
holds (of variables the one with the name of today), and that is logged, too, unless both say the same.

`aios config show` prints the effective values and where each comes from, `aios config check` what cannot be
used, `aios config schema` a JSON Schema, against which editors check a file.

Files of the older system are read, too: `cpu.use_compile`, `cpu.use_ipex`, `cpu.num_threads`, `gpu.use_amp`,
`gpu.vram_threshold`, `quantization.quant_type`, `quantization.calibration_method`,
`quantization.sensitive_layers`, `consolidation.time_based_schedule`, `consolidation.pressure_threshold_mb`,
`consolidation.llm_provider`, `consolidation.llm_model`, `consolidation.llm_endpoint`,
`federation.enable_delta_sync`, `federation.delta_threshold` and the like stand for the keys that do the same
here (`aios_db/config/legacy.py`); `aios config show` says which.

This page is made by `docs/make_configuration.py` from `schema/config.py`.
"""


def descriptions(section: type) -> dict[str, str]:
    """Return the docstring under each field of a dataclass; they exist in the source only."""
    (definition,) = ast.parse(inspect.getsource(section)).body
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for field, below in zip(definition.body, definition.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
        ):
            found[field.target.id] = inspect.cleandoc(ast.literal_eval(below.value))
    return found


def reference() -> Iterator[str]:
    """Yield the page line by line."""
    yield from INTRODUCTION.splitlines()
    for name, section in config.sections().items():
        defaults, texts = section(), descriptions(section)
        yield ""
        yield f"## {name or 'Outside of any section'}"
        if name:
            yield ""
            yield inspect.getdoc(section) or ""
        yield ""
        yield "| key | type | default | meaning |"
        yield "| --- | --- | --- | --- |"
        for key, hint in config.keys(section).items():
            default = str(getattr(defaults, key))
            default = "" if default == "()" else default
            default = default.lower() if isinstance(getattr(defaults, key), bool) else default
            meaning = " ".join(texts[key].split()).replace("``", "`").replace("|", "\\|")
            yield f"| `{key}` | {config.describe_type(hint)} | `{default}` | {meaning} |"


if __name__ == "__main__":
    sys.stdout.write("\n".join(reference()) + "\n")
