from __future__ import annotations

import dataclasses
import json
import logging
import os
import pwd
import re
import threading
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import aios_db
from aios_db.benchmarking.environment import environment
from aios_db.cli.app import main
from aios_db.config import describe_type, files, given_config, keys, load_config, loaded, sections
from aios_db.schema.config import Config, RecallConfig, TrustConfig
from aios_db.schema.errors import ConfigError, OperationalError, ProgrammingError
from aios_db.schema.secrets import MASK


@pytest.fixture
def load(tmp_path, caplog):
    """Return a function of (YAML text, environment) that gives the configuration and the errors logged."""

    def load(text="", **env):
        file = tmp_path / "c.yaml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        caplog.clear()
        config = load_config(file, env)
        assert all(record.levelno == logging.ERROR for record in caplog.records)
        return config, [record.getMessage().replace(str(file), "c.yaml") for record in caplog.records]

    return load


def test_absent_file_is_the_defaults(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert load_config(env={}) == Config()
    assert not caplog.records


def test_file_of_the_working_directory_then_variable_then_argument(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aios.yaml").write_text("recall: {k: 1}")
    (tmp_path / "b.yaml").write_text("recall: {k: 2}")
    (tmp_path / "c.yaml").write_text("recall: {k: 3}")
    env = {"AIOS_CONFIG": str(tmp_path / "b.yaml")}
    assert load_config(env={}).recall.k == 1
    assert load_config(env=env).recall.k == 2
    assert load_config(tmp_path / "c.yaml", env).recall.k == 3


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


@pytest.mark.parametrize("how", ["given", "AIOS_CONFIG"])
def test_named_file_that_is_missing_is_an_error(tmp_path, how):
    """Someone named it, so its values are wanted; a directory is no file either."""
    for absent in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match=re.escape(str(absent))):
            load_config(absent) if how == "given" else load_config(None, {"AIOS_CONFIG": str(absent)})


def test_a_link_that_leads_nowhere_cannot_be_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for target in ("nowhere.yaml", "aios.yaml"):
        (tmp_path / "aios.yaml").unlink(missing_ok=True)
        (tmp_path / "aios.yaml").symlink_to(target)
        (problem,) = loaded(env={}).problems
        assert problem.startswith("aios.yaml: cannot be read as YAML (")


def test_a_file_is_named_by_way_of_the_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("recall: {k: 3}")
    assert load_config(env={"AIOS_CONFIG": "~/c.yaml"}).recall.k == 3


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root takes another user")
def test_what_this_user_may_not_reach_is_not_there(tmp_path, monkeypatch):
    """A service has a user of its own, often with the home of another in its environment."""
    monkeypatch.chdir("/")
    home = tmp_path / "home"
    for folder in (home / ".config" / "aios_db", home / "db"):
        folder.mkdir(parents=True)
        (folder / "aios.yaml").write_text("recall: {k: 3}")
    home.chmod(0o700)
    assert load_config(env={"HOME": str(home)}).recall.k == 3
    os.seteuid(65534)
    try:
        assert load_config(env={"HOME": str(home)}, database=home / "db") == Config()
        with pytest.raises(ConfigError, match="that this user may reach"):
            load_config(home / "db" / "aios.yaml", {})
    finally:
        os.seteuid(0)


def test_connecting_with_a_file_that_is_missing_makes_no_database(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml"):
        aios_db.connect(tmp_path / "a.aios", config=tmp_path / "none.yaml")
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_refuses_a_file_that_is_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--config", "nofile.yaml", "init", "a.aios"]) == 1
    assert "nofile.yaml" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


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


def test_one_in_the_database_and_one_of_the_user(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    home, database = tmp_path / "home", tmp_path / "agent.aios"
    for folder, k in ((home / ".config" / "aios_db", 11), (database, 12)):
        folder.mkdir(parents=True)
        (folder / "aios.yaml").write_text(f"recall: {{k: {k}}}")
    env = {"HOME": str(home)}
    monkeypatch.setattr(files.sys, "platform", "linux")
    assert load_config(env=env).recall.k == 11
    assert load_config(env={"XDG_CONFIG_HOME": str(tmp_path)}).recall.k == RecallConfig().k
    assert load_config(env=env, database=database).recall.k == 12
    (tmp_path / "aios.yaml").write_text("recall: {k: 13}")
    assert load_config(env=env, database=database).recall.k == 13
    monkeypatch.setattr(files, "_is_ours", lambda file: False)
    assert load_config(env=env, database=database).recall.k == 11
    for file in (database / "aios.yaml", "aios.yaml"):
        assert f"{file} belongs to another user" in caplog.text


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root gives files away")
@pytest.mark.parametrize("given_away", ["file", "link"])
def test_what_another_user_left_in_a_shared_folder_is_not_read(tmp_path, monkeypatch, caplog, given_away):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.yaml").write_text("llm: {provider: openai, base_url: 'http://elsewhere.example'}")
    (tmp_path / "aios.yaml").symlink_to("other.yaml")
    assert load_config(env={}).llm.provider == "openai"
    os.chown("aios.yaml", 65534, -1, follow_symlinks=given_away == "file")
    assert load_config(env={}) == Config() and "belongs to another user" in caplog.text
    assert load_config("aios.yaml", {}).llm.provider == "openai"


def test_a_user_without_a_home_has_the_defaults_and_is_told_what_needs_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)
    assert load_config(env={}) == Config()
    with pytest.raises(OperationalError, match=r"~/\.cache/aios_db/models.* set HOME, or name it"):
        aios_db.connect(tmp_path / "a.aios")


def test_a_configuration_folder_is_named_in_full(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aios_db").mkdir()
    (tmp_path / "aios_db" / "aios.yaml").write_text("recall: {k: 3}")
    assert load_config(env={"XDG_CONFIG_HOME": str(tmp_path)}).recall.k == 3
    assert load_config(env={"XDG_CONFIG_HOME": ".", "HOME": "/"}) == Config()


def test_a_database_is_opened_with_the_configuration_in_its_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    database = tmp_path / "agent.aios"
    database.mkdir()
    (database / "aios.yaml").write_text("storage: {confirm_forget: 2}\n")
    with aios_db.connect(database) as con:
        assert con.store.config.storage.confirm_forget == 2
    with aios_db.connect(database, config={"storage": {"confirm_forget": 3}}) as con:
        assert con.store.config.storage.confirm_forget == 3
    assert aios_db.check(database).whole


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


OLDER = """\
device:
  target: cpu
cpu:
  use_compile: true
  use_ipex: false
  num_threads: 4
gpu:
  use_amp: false
  vram_threshold: 0.8
quantization:
  quant_type: int2
  calibration_method: gptq
  sensitive_layers: [embeddings, pooler]
consolidation:
  time_based_schedule: "0 2 * * *"
  pressure_threshold_mb: 512
  llm_provider: anthropic
  llm_model: a-model
  llm_endpoint: http://127.0.0.1:1
federation:
  enable_delta_sync: true
  delta_threshold: 0.05
"""


def test_a_file_of_the_older_system_means_the_same(load):
    config, errors = load(OLDER)
    assert not errors
    assert (config.device.target, config.device.amp, config.device.vram_threshold) == ("cpu", False, 0.8)
    assert (config.cpu.backend, config.cpu.threads) == ("compile", 4)
    assert (config.quantization.target, config.quantization.method) == ("int2", "gptq")
    assert config.quantization.keep_fp16 == "embeddings, pooler"
    assert config.consolidation.schedule == "0 2 * * *"
    assert config.consolidation.pressure_bytes == 512_000_000
    assert (config.llm.provider, config.llm.model) == ("claude", "a-model")
    assert config.llm.base_url == "http://127.0.0.1:1"
    assert (config.federation.delta_sync, config.federation.density) == (True, 0.05)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("gpu: {use_amp: perhaps}", "c.yaml:1: gpu.use_amp: must be true or false"),
        ("cpu: {use_compile: 3}", "c.yaml:1: cpu.use_compile: must be true or false"),
        (
            "consolidation:\n  pressure_threshold_mb: much",
            "c.yaml:2: consolidation.pressure_threshold_mb: must be",
        ),
        ("gpu: {no_such: 1}", "c.yaml:1: gpu.no_such: there is no section 'gpu'"),
        ("gpu: 3", "c.yaml:1: gpu: "),
    ],
)
def test_what_does_not_fit_an_older_name_is_logged_under_it(load, text, error):
    config, errors = load(text)
    assert (
        config == Config()
        and len(errors) == 1
        and errors[0].removeprefix("invalid configuration: ").startswith(error)
    )


@pytest.mark.parametrize(
    ("text", "env", "threads", "problem"),
    [
        ("cpu: {threads: 4}", {"AIOS_CPU__NUM_THREADS": "x"}, 4, "using that of c.yaml:1: cpu.threads"),
        (
            "cpu:\n  threads: 4\n  num_threads: 2\n",
            {},
            2,
            "c.yaml:3: cpu.num_threads: c.yaml:2: cpu.threads sets the same to something else; using this",
        ),
        (
            "",
            {"AIOS_CPU__NUM_THREADS": "2", "AIOS_CPU__THREADS": "3", "AIOS_CPU__BACKEND": "auto"},
            3,
            "$AIOS_CPU__THREADS: $AIOS_CPU__NUM_THREADS sets the same to something else; using this",
        ),
        (
            "",
            {"AIOS_CPU__THREADS": "3", "AIOS_cpu__threads": "2"},
            2,
            "$AIOS_cpu__threads: $AIOS_CPU__THREADS",
        ),
        ("cpu: {threads: 4, num_threads: 4}", {"AIOS_CPU__NUM_THREADS": "4"}, 4, ""),
        ("cpu: {num_threads: 4}", {"AIOS_CPU__THREADS": "5"}, 5, ""),
    ],
)
def test_two_names_of_one_key_are_one_key(load, text, env, threads, problem):
    config, errors = load(text, **env)
    assert config.cpu.threads == threads
    assert len(errors) == bool(problem) and all(problem in error for error in errors)


def test_the_name_of_today_holds_over_an_older_variable(load):
    config, _ = load("", AIOS_CPU__USE_IPEX="yes", AIOS_CPU__BACKEND="openvino")
    assert config.cpu.backend == "openvino"


def test_a_program_that_contradicts_itself_is_told():
    with pytest.raises(ConfigError, match=r"\['num_threads'\]: config\['cpu'\]\['threads'\] sets the same"):
        load_config(env={}, given={"cpu": {"threads": 4, "num_threads": 2}})


def test_relative_paths_lead_where_they_did_when_the_database_was_opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own" / "bert").mkdir(parents=True)
    values = {"engine": {"models_dir": "models", "text_model": "own/bert", "image_model": "~/clip"}}
    (tmp_path / "aios.yaml").write_text(json.dumps(values))
    for way in (values, load_config(given=values, env={}), None):
        engine = given_config(way).engine
        assert engine.models_dir == str(tmp_path / "models")
        assert engine.text_model == str(tmp_path / "own" / "bert")
        assert (engine.audio_model, engine.image_model) == ("whisper-tiny", "~/clip")
    assert given_config(Config()) == Config()


def test_an_older_name_is_read_from_the_environment(load):
    config, errors = load(
        "device: {amp: true}", AIOS_GPU__USE_AMP="false", AIOS_QUANTIZATION__CALIBRATION_METHOD="mixed"
    )
    assert not errors and not config.device.amp
    assert (config.quantization.method, config.quantization.mixed_precision) == ("gptq", True)


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("AIOS_RECALL_K", "AIOS_RECALL__K"),
        ("AIOS_CPU_BACKEND", "AIOS_CPU__BACKEND"),
        ("AIOS_LOG_LEVEL", "AIOS_LOGGING__LEVEL"),
        ("AIOS_STRIKT", "AIOS_STRICT"),
        ("AIOS_CONFG", "AIOS_CONFIG"),
    ],
)
def test_a_variable_that_is_nearly_a_key_is_told(variable: str, meant: str) -> None:
    (problem,) = loaded(env={variable: "7"}).problems
    assert problem == f"${variable}: there is no such key (did you mean {meant}?); it is ignored"
    with pytest.raises(aios_db.ConfigError, match="did you mean"):
        load_config(env={variable: "7", "AIOS_STRICT": "true"})


def test_variables_of_ours_and_of_others_are_no_misspelt_keys() -> None:
    code = [*Path(aios_db.__file__).parent.rglob("*.py"), Path(__file__).parents[1] / "conftest.py"]
    ours = {name for file in code for name in re.findall(r"\"(AIOS_[A-Z_]+)\"", file.read_text("utf-8"))}
    assert {"AIOS_DB", "AIOS_CONFIG", "AIOS_FEDERATION_TOKEN"} <= ours
    assert loaded(env=dict.fromkeys({*ours, "AIOS_HOME", "AIOS_KERNEL_URL"}, "")).problems == ()
