from __future__ import annotations

import dataclasses
import json
import threading

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aios_db
from aios_db.benchmarking.environment import environment
from aios_db.cli.app import main
from aios_db.config import describe_type, keys, load_config, loaded, sections
from aios_db.schema.config import Config, RecallConfig, TrustConfig
from aios_db.schema.errors import ConfigError, ProgrammingError
from aios_db.schema.secrets import MASK


def test_absent_file_is_the_defaults(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert load_config(env={}) == Config()
    assert not caplog.records


def test_values_of_every_type(load):
    config, errors = load(
        "strict: no\nengine: {mmap: off, text_model: 123}\ncpu: {backend: compile, threads: 4}\n"
        "links: {similar_threshold: 7e-1}\nrecall:\n  k:\nstorage:\n"
    )
    assert not errors
    assert (config.strict, config.engine.mmap, config.engine.text_model) == (False, False, "123")
    assert (config.cpu.backend, config.cpu.threads, config.links.similar_threshold) == ("compile", 4, 0.7)
    assert config.recall == RecallConfig()


def test_environment_overrides_the_file(load):
    config, errors = load(
        "cpu: {backend: compile, threads: 4}",
        AIOS_CPU__BACKEND="standard",
        AIOS_DB="x",
        AIOS_OTHER="y",
        HOME="/",
    )
    assert not errors
    assert (config.cpu.backend, config.cpu.threads) == ("standard", 4)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "cpu: {threads: many}",
            "c.yaml:1: cpu.threads: must be an integer of at least 0, not 'many'; using the default",
        ),
        (
            "cpu: {threads: -1}",
            "c.yaml:1: cpu.threads: must be an integer of at least 0, not '-1'; using the default",
        ),
        (
            "cpu: {threads: 1.5}",
            "c.yaml:1: cpu.threads: must be an integer of at least 0, not '1.5'; using the default",
        ),
        (
            "cpu: {threads: [1]}",
            "c.yaml:1: cpu.threads: must be an integer of at least 0, not a list; using the default",
        ),
        ("device: {vram_threshold: .nan}", "must be a number from 0 to 1, not '.nan'"),
        ("device: {vram_threshold: nan}", "must be a number from 0 to 1, not 'nan'"),
        ("recall: {vector_weight: inf}", "must be a number of at least 0, not 'inf'"),
        ("engine: {mmap: maybe}", "must be true or false, not 'maybe'"),
        ("engine: {models_dir: {a: b}}", "must be text, not a section"),
        ("cpu: {backend: openvinno}", "not 'openvinno' (did you mean 'openvino'?)"),
        (
            "cpu: {thread: 1}",
            "c.yaml:1: cpu.thread: there is no such key (did you mean 'threads'?); using the default",
        ),
        (
            "cpus: {threads: 1}",
            "c.yaml:1: cpus: there is no such key (did you mean 'cpu'?); using the default",
        ),
        ("'': 1", "c.yaml:1: : there is no such key"),
        ("cpu: 3", "c.yaml:1: cpu: must be a section of keys, not '3'"),
        ("[1, 2]", "c.yaml: must hold sections of keys, not a list"),
        ("cpu: {", "c.yaml: cannot be read as YAML (while parsing a flow node expected the node content"),
        (b"\xff\xfe\x00", "c.yaml: cannot be read as YAML"),
        ("[" * 3000, "c.yaml: cannot be read as YAML"),
        ("{[1]: 2}", "c.yaml: cannot be read as YAML"),
    ],
)
def test_invalid_value_is_logged_with_its_place_and_replaced(load, text, error):
    config, errors = load(text)
    assert config == Config()
    assert len(errors) == 1
    assert error in errors[0]


def test_invalid_variable_is_logged_and_the_file_does_not_shine_through_silently(load):
    config, errors = load("cpu: {threads: 4}", AIOS_CPU__THREADS="x", AIOS_GPU__X="1")
    assert config.cpu.threads == 4
    assert [error.removeprefix("invalid configuration: ") for error in errors] == [
        "$AIOS_CPU__THREADS: must be an integer of at least 0, not 'x'; using that of c.yaml:1: cpu.threads",
        "$AIOS_GPU__X: there is no section 'gpu' (did you mean 'cpu'?); using the default",
    ]


@pytest.mark.parametrize("null", ["", "null", "Null", "NULL", "~"])
def test_null_is_the_default_as_nothing_is(load, null):
    config, errors = load(
        f"strict: {null}\nengine:\n  text_model: {null}\nconsolidation:\n  schedule: {null}\n"
        f"  pressure_threshold_mb: {null}\ncpu:\n  use_ipex: {null}\nrecall: {null}\n"
    )
    assert (config, errors) == (Config(), [])
    assert load(null)[1] == []
    assert load("engine: {text_model: 'null'}")[0].engine.text_model == "null"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("recall:\n  k: 3\n  k: 5\n", "c.yaml:1: recall: k stands in line 2 and in 3; using the latter"),
        ("recall: {hops: 3}\nrecall: {k: 5}", "c.yaml: recall stands in line 1 and in 2; using the latter"),
    ],
)
def test_what_stands_twice_is_an_error_and_the_last_holds(load, text, problem):
    config, errors = load(text)
    assert config.recall == RecallConfig(k=5)
    assert errors == [f"invalid configuration: {problem}"]


def test_choices_are_known_in_upper_and_lower_case(load):
    config, errors = load("logging: {level: debug, format: JSON}\ncpu: {backend: OpenVINO}")
    assert not errors
    assert (config.logging.level, config.logging.format, config.cpu.backend) == ("DEBUG", "json", "openvino")


@pytest.mark.parametrize(
    ("key", "most"),
    [
        ("storage.lock_timeout_s", 10**9),  # of threading.TIMEOUT_MAX, which is some more
        ("recall.vector_weight", 10**9),
        ("recall.k", 2**31 - 1),
        ("storage.malloc_arenas", 2**31 - 1),
        ("storage.index_cache_bytes", 2**63 - 1),
        ("quantization.seed", 2**31 - 1),
    ],
)
def test_no_number_is_larger_than_what_it_is_for_can_be(load, key, most):
    section, name = key.split(".")
    config, errors = load(f"{section}: {{{name}: {most}}}")
    assert (getattr(getattr(config, section), name), errors) == (most, [])
    assert most <= threading.TIMEOUT_MAX or not name.endswith("_s")
    config, errors = load(f"{section}: {{{name}: {most * 10}}}")
    assert config == Config()
    assert f"must be at most {most:,}, not " in errors[0]


def test_one_invalid_value_leaves_the_others(load):
    config, errors = load("recall: {k: 0, hops: 3}")
    assert len(errors) == 1
    assert (config.recall.k, config.recall.hops) == (10, 3)


@pytest.mark.parametrize(
    "text_env",
    [
        ("strict: true\ncpu: {threads: x, backend: y}", {}),
        ("cpu: {threads: x, backend: y}", {"AIOS_STRICT": "1"}),
    ],
)
def test_strict_raises_with_every_problem(load, text_env):
    text, env = text_env
    with pytest.raises(ConfigError, match=r"cpu\.threads.*cpu\.backend") as raised:
        load(text, **env)
    assert isinstance(raised.value, ProgrammingError)


def test_strict_and_valid_does_not_raise(load):
    assert load("strict: true")[0].strict


def test_every_key_has_a_supported_type_and_a_default_in_range():
    for name, section in sections().items():
        defaults = section()
        for key, hint in keys(section).items():
            assert describe_type(hint), (name, key)
            default = getattr(defaults, key)
            variable = f"AIOS_{name}__{key}" if name else f"AIOS_{key}"
            env = {variable.upper(): "" if default == () else str(default)}
            assert (
                load_config(env=env | {"AIOS_STRICT": "true"}) == dataclasses.replace(Config(), strict=True)
                or key == "strict"
            )


yaml_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*sections(), "k", "threads"]) | st.text(max_size=5), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.text() | st.binary() | yaml_like)
def test_no_content_crashes(tmp_path_factory, content):
    import yaml

    file = tmp_path_factory.mktemp("config") / "c.yaml"
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    elif not isinstance(content, bytes):
        content = yaml.safe_dump(content, allow_unicode=True).encode("utf-8", "surrogatepass")
    file.write_bytes(content)
    config = load_config(file, {})
    for name, section in sections().items():
        part = getattr(config, name) if name else config
        assert isinstance(part, section)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([(n, k) for n, s in sections().items() if n for k in keys(s)]), st.text())
def test_no_variable_crashes(place, value):
    section, key = place
    config = load_config(env={f"AIOS_{section}__{key}".upper(): value})
    got, default = getattr(getattr(config, section), key), getattr(getattr(Config(), section), key)
    assert type(got) is type(default)


def test_billion_laughs_are_shortened(load):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    config, errors = load("\n".join([*lines, "cpu: *a29", "recall: {k: *a29}"]))
    assert config == Config()
    assert all(len(error) < 500 for error in errors)


def test_a_program_gives_older_names_nothing_and_what_a_config_holds():
    older = {"gpu": {"use_amp": False}, "recall": None, "quantization": {"sensitive_layers": ("a", "b")}}
    config = load_config(env={}, given=older)
    assert (config.device.amp, config.quantization.keep_fp16) == (False, "a, b")
    whole = dataclasses.replace(config, trust=TrustConfig(sources=(("web:*", 0.25), ("tool:*", 0.5))))
    assert load_config(env={}, given=dataclasses.asdict(whole)) == whole
    assert load_config(env={}, given=dataclasses.asdict(Config())) == Config()


def test_a_program_gives_single_values_over_file_and_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aios.yaml").write_text("storage:\n  keep_changes: 5\n  lock_timeout_s: 7\n")
    monkeypatch.setenv("AIOS_RECALL__K", "3")
    given = {
        "strict": True,
        "engine": {"models_dir": tmp_path / "models", "mmap": False},
        "storage": {"keep_changes": 9, "durability": "normal"},
        "recall": {"vector_weight": 2.5},
        "trust": {"sources": {"web:*": 0.25}},
    }
    with aios_db.connect(tmp_path / "a.aios", config=given) as con:
        config = con.store.config
    assert (config.strict, config.engine.mmap, config.engine.models_dir) == (
        True,
        False,
        str(tmp_path / "models"),
    )
    assert (config.storage.keep_changes, config.storage.lock_timeout_s, config.storage.durability) == (
        9,
        7,
        "normal",
    )
    assert (config.recall.k, config.recall.vector_weight) == (3, 2.5)
    assert config.trust.sources == (("web:*", 0.25),)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            {"storage": {"durabilty": "full"}},
            r"config\['storage'\]\['durabilty'\].*did you mean 'durability'",
        ),
        ({"recall": {"k": 0}}, r"config\['recall'\]\['k'\]: must be an integer of at least 1, not '0'"),
        ({"storage": 3}, r"config\['storage'\]: must be a section of keys"),
        ({"strorage": {}}, "did you mean 'storage'"),
        ({3: {}}, "there is no such key"),
        ([("recall", 1)], "not list"),
    ],
)
def test_a_value_of_a_program_that_cannot_be_used_raises(tmp_path, given, error):
    with pytest.raises(aios_db.ConfigError, match=error):
        aios_db.connect(tmp_path / "a.aios", config=given)
    assert not (tmp_path / "a.aios").exists()


def test_show_says_where_each_value_comes_from(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("AIOS_RECALL__K", "5")
    file = tmp_path / "c.yaml"
    file.write_text("# mine\ncpu:\n  threads: 4\n")
    assert main(["--config", str(file), "config", "show", "--json"]) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["cpu.threads"] == {"key": "cpu.threads", "value": 4, "from": f"{file}:3"}
    assert rows["recall.k"] == {"key": "recall.k", "value": 5, "from": "$AIOS_RECALL__K"}
    assert rows["recall.hops"]["from"] == "default"
    assert len(rows) == sum(len(keys(section)) for section in sections().values())
    assert main(["--config", str(file), "config", "show", "--changed"]) == 0
    assert "hops" not in capsys.readouterr().out


SECRETS = {
    "AIOS_LLM__BASE_URL": "https://ada:pa%40ss@models.example:8443/v1?key=pa%40ss#x",
    "AIOS_LLM__API_KEY_VARIABLE": "sk-pa%40ss",
}


def test_no_secret_is_shown_nor_reported(monkeypatch, capsys):
    for variable, value in SECRETS.items():
        monkeypatch.setenv(variable, value)
    assert main(["config", "show", "--json"]) == 0
    out = capsys.readouterr().out
    rows = {row["key"]: row["value"] for row in json.loads(out)}
    assert rows["llm.base_url"] == f"https://{MASK}@models.example:8443/v1?{MASK}#x"
    assert rows["llm.api_key_variable"] == MASK
    reported = json.dumps(environment(load_config()))
    assert "models.example" in reported
    assert not any("pa%40ss" in each for each in (out, reported))
    monkeypatch.setenv("AIOS_LLM__API_KEY_VARIABLE", "MY_KEY")
    monkeypatch.setenv("AIOS_LLM__BASE_URL", "http://127.0.0.1:11434/v1")
    config = environment(load_config())["configuration"]["llm"]
    assert (config["api_key_variable"], config["base_url"]) == ("MY_KEY", "http://127.0.0.1:11434/v1")


def test_check_fails_on_what_cannot_be_used(tmp_path, capsys):
    file = tmp_path / "c.yaml"
    file.write_text("cpu:\n  threads: 4\n  backend: opnvino\n")
    assert main(["--config", str(file), "config", "check"]) == 1
    out, err = capsys.readouterr()
    assert str(file) in out and f"{file}:3: cpu.backend: must be one of" in err
    file.write_text("consolidation:\n  schedule: 0 25 * * *\n")
    assert main(["--config", str(file), "config", "check"]) == 1
    assert "consolidation.schedule is '0 25 * * *', no cron expression" in capsys.readouterr().err
    file.write_text("cpu:\n  threads: 4\n")
    assert main(["--config", str(file), "config", "check"]) == 0


def test_the_schema_takes_what_the_parser_takes(capsys):
    assert main(["config", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    whole = json.loads(json.dumps(dataclasses.asdict(Config()), default=str))
    whole["trust"]["sources"] = {"web:*": 0.2}
    whole["quantization"] = {}
    assert not list(validator.iter_errors(whole))
    for section in [each for each in whole.values() if isinstance(each, dict)]:
        section.update(dict.fromkeys(section))
    assert not list(validator.iter_errors(whole))
    for wrong in ({"storage": {"lock_timeout_s": 1e300}}, {"recall": {"k": 10**26}}):
        assert list(validator.iter_errors(wrong)), wrong
    for wrong in ({"cpu": {"threads": -1}}, {"cpu": {"backend": "x"}}, {"cpus": {}}, {"recall": {"kk": 1}}):
        assert list(validator.iter_errors(wrong)), wrong


VALID = """\
# what an operator writes
engine: {text_model: minilm, mmap: true}
cpu:
  backend: openvino
  threads: 4
storage:
  durability: full
  keep_versions_s: 600.5
trust:
  sources: {"web:*": 0.2, "mail:*": 0.5}
recall: {k: 20}
"""


@given(
    cuts=st.lists(
        st.tuples(
            st.integers(0, len(VALID)),
            st.integers(0, 12),
            st.sampled_from(["", ":", "{", "-1", "\t", "\x00", "é", "[", "'", "&a ", "*a", "x" * 40, "\n  "]),
        ),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=200)
def test_a_changed_file_is_a_usable_configuration_and_each_fault_is_logged(tmp_path_factory, cuts):
    text = VALID
    for start, length, put in cuts:
        text = text[:start] + put + text[start + length :]
    file = tmp_path_factory.mktemp("c") / "c.yaml"
    file.write_text(text, encoding="utf-8")
    found = loaded(file, {})
    assert isinstance(found.config, Config)
    assert all(str(file) in each for each in found.problems)
    for (section, key), place in found.places.items():
        line = int(place.removeprefix(f"{file}:").partition(":")[0])
        value = getattr(getattr(found.config, section) if section else found.config, key)
        assert key in text.splitlines()[line - 1] or "\\" in text
        assert type(value) is type(getattr(sections()[section](), key))
