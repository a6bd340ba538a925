"""Cards on Flower: deltas in its messages, arrays for its apps; a grid in this process is its network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation_helpers import card

pytest.importorskip("flwr")

from flwr.app import ArrayRecord, ConfigRecord, Context, MetricRecord, RecordDict
from flwr.app import Message as FlowerMessage
from flwr.clientapp import ClientApp
from flwr.supercore.task_identity import TaskIdentity

from aios_db.federation.card import LoraCard
from aios_db.federation.delta import moved, vector
from aios_db.federation.flower import RECORD, CardStrategy, DeltaMod, sent_card, to_arrays, with_arrays
from aios_db.federation.hub import Rounds
from aios_db.federation.library import CardLibrary
from aios_db.federation.sparse import Sparsity

Libraries = Callable[[str], CardLibrary]
NAME = "skill"


@pytest.fixture(autouse=True)
def task() -> None:
    """Be the server's task of a run, as Flower says before it starts one."""
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


class Grid:
    """Nodes that answer at once; counts the bytes of what is sent to them and of what they answer."""

    def __init__(
        self, apps: dict[int, ClientApp], damage: Callable[[Any], None] = lambda reply: None
    ) -> None:
        self.apps, self.damage = apps, damage
        self.contexts = {node: Context(1, node, {}, RecordDict(), {}) for node in apps}
        self.down, self.up = list[int](), list[int]()

    def get_node_ids(self) -> Iterable[int]:
        return list(self.apps)

    def send_and_receive(self, messages: Iterable[Any], *, timeout: float | None = None) -> list[Any]:
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            self.down.append(size(message))
            reply = self.apps[node](message, self.contexts[node])
            reply.metadata.__dict__["_src_node_id"] = node
            self.damage(reply)
            self.up.append(size(reply))
            replies.append(reply)
        return replies


def size(message: Any) -> int:
    if message.has_error():
        return 0
    arrays = sum(
        len(each.data) for record in message.content.array_records.values() for each in record.values()
    )
    return arrays + sum(
        sum(map(len, value)) if isinstance(value, list) else len(value)
        for key, record in message.content.config_records.items()
        if key == RECORD
        for value in record.values()
    )


def app(
    seen: list[np.ndarray], target: LoraCard | None = None, sparsity: Sparsity | None = None
) -> ClientApp:
    """A node that goes half of the way to a target, or a step at random."""
    made = ClientApp(mods=[DeltaMod(sparsity)])
    random = np.random.default_rng(len(seen))

    @made.train()
    def train(message: Any, context: Any) -> Any:
        head = sent_card(message, context)
        seen.append(vector(head))
        step = (
            random.normal(0, 0.01, head.parameters) if target is None else (vector(target) - vector(head)) / 2
        )
        trained = moved(head, step.astype(np.float32))
        metrics = MetricRecord({"num-examples": 10 + context.node_id, "loss": 0.5})
        return FlowerMessage(RecordDict({"arrays": to_arrays(trained), "metrics": metrics}), reply_to=message)

    @made.evaluate()
    def evaluate(message: Any, context: Any) -> Any:
        seen.append(vector(sent_card(message, context)))
        metrics = MetricRecord({"num-examples": 10, "quality": 1.0})
        return FlowerMessage(RecordDict({"metrics": metrics}), reply_to=message)

    return made


def strategy(library: CardLibrary, **rounds: Any) -> CardStrategy:
    library.add(card(NAME, rank=8, modules=12), origin="new")
    return CardStrategy(library, NAME, Rounds(rule="mean", **rounds))


def test_nodes_have_the_very_head_that_is_made_of_what_they_sent(library: Libraries) -> None:
    made, seen = strategy(library("server")), (list[np.ndarray](), list[np.ndarray]())
    grid = Grid({n: app(seen[n]) for n in (0, 1)})
    result = made.start(grid, made.arrays, num_rounds=3)
    versions = [library("server").get(each.version) for each in library("server").versions(NAME)]
    assert len(versions) == 4
    met = [versions[n] for n in (0, 1, 1, 2, 2, 3)]  # to train, to evaluate
    for each in seen:
        assert [head.tobytes() for head in each] == [vector(head).tobytes() for head in met]
    assert result.train_metrics_clientapp[3]["loss"] == result.evaluate_metrics_clientapp[3]["quality"] / 2
    assert vector(with_arrays(versions[-1], result.arrays)).tobytes() == vector(versions[-1]).tobytes()


def test_sparse_changes_come_to_the_target_with_a_fraction_of_the_bytes(library: Libraries) -> None:
    sparsity, start = Sparsity(0.1, 2), card(NAME, rank=8, modules=12)
    target = moved(start, np.random.default_rng(5).normal(0, 0.05, start.parameters).astype(np.float32))
    made = strategy(library("server"), sparsity=sparsity)
    grid = Grid({n: app([], target, sparsity) for n in (0, 1)})
    made.start(grid, made.arrays, num_rounds=15)
    head = library("server").get(NAME)
    gone = np.linalg.norm(vector(head) - vector(target)) / np.linalg.norm(vector(start) - vector(target))
    assert gone < 0.3
    whole = 4 * start.parameters
    # the first message to each node is the whole card; then there are two a round, and one change back
    assert np.mean(grid.down[2:]) < 0.1 * whole
    assert np.mean([each for each in grid.up if each]) < 0.1 * whole


def test_a_node_that_has_lost_its_state_gets_the_card_whole(library: Libraries) -> None:
    made, seen = strategy(library("server")), (list[np.ndarray](), list[np.ndarray]())
    grid = Grid({n: app(seen[n]) for n in (0, 1)})
    made.start(grid, made.arrays, num_rounds=2)
    grid.contexts[1].state = RecordDict()
    made.start(grid, made.arrays, num_rounds=1)
    assert library("server").versions(NAME)[-1].number == 4  # made of what the other sent
    made.start(grid, made.arrays, num_rounds=1)
    assert seen[1][-1].tobytes() == vector(library("server").get(NAME)).tobytes()
    assert library("server").versions(NAME)[-1].agent == "0+1"


@pytest.mark.parametrize("how", ["cut", "other base", "no samples", "arrays", "no result"])
def test_what_is_no_version_of_the_head_is_left_out(library: Libraries, how: str) -> None:
    def damage(reply: Any) -> None:
        if reply.metadata.src_node_id != 1 or RECORD not in reply.content:
            return
        record = dict(reply.content[RECORD])
        if how == "cut":
            record["bodies"] = [each[:-3] for each in record["bodies"]]
        elif how == "other base":
            record["base"] = "0" * 64
        elif how == "no result":
            del record["result"]
        elif how == "no samples":
            reply.content["metrics"] = MetricRecord({"loss": 1.0})
        content = RecordDict({**reply.content, RECORD: ConfigRecord(record)})
        if how == "arrays":
            del content[RECORD]
            content["arrays"] = ArrayRecord([np.zeros(3, np.float32)])
        reply.content = content

    made = strategy(library("server"))
    made.fraction_evaluate, made.min_evaluate_nodes = 0.0, 0
    made.start(Grid({n: app([]) for n in (0, 1)}, damage), made.arrays, num_rounds=1)
    versions = library("server").versions(NAME)
    assert [each.agent for each in versions] == [None, "0"]


def test_what_is_not_finite_never_leaves_the_node(library: Libraries) -> None:
    broken, made = ClientApp(mods=[DeltaMod()]), strategy(library("server"))

    @broken.train()
    def train(message: Any, context: Any) -> Any:
        arrays = {name: each.numpy() * np.nan for name, each in message.content["arrays"].items()}
        record = ArrayRecord(list(arrays.values()))
        metrics = MetricRecord({"num-examples": 1})
        return FlowerMessage(RecordDict({"arrays": record, "metrics": metrics}), reply_to=message)

    with pytest.raises(Exception, match="hold no"):
        made.start(Grid({0: broken, 1: broken}), made.arrays, num_rounds=1)
    assert len(library("server").versions(NAME)) == 1


def test_the_app_in_the_documentation_runs(
    tmp_path: Path, minilm_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AIOS_ENGINE__MODELS_DIR", str(minilm_dir.parent))
    page = Path(__file__).parents[2].joinpath("docs", "federation.md").read_text("utf-8")
    (block,) = re.findall(r"^```py\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(block, "docs/federation.md", "exec"), names)
    grid = Grid(dict.fromkeys((0, 1), names["client_app"]))
    names["main"](grid, Context(1, 9, {}, RecordDict(), {}))
    assert capsys.readouterr().out.endswith(
        "[(1, 'new', None), (2, 'aggregated', '0+1'), (3, 'aggregated', '0+1')]\n"
    )
    assert max(grid.down[2:] + grid.up) < 0.02 * grid.down[0]
