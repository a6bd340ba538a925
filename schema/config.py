"""What a configuration file may say: one dataclass a section, one field a key, with its default.

Reading files and environment variables is `aios_db.config`; this module only holds the shape, so that every
layer can take its section as an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Annotated, Literal


@dataclass(frozen=True)
class Range:
    """The least and the most value of a number, both allowed.

    Where there is no most, a whole number is below 2**31 and another up to 1e9: more fits no counter, or is
    more seconds than a thread can wait.
    """

    least: float
    most: float = inf


MOST_BYTES = 2**63 - 1
NonNegativeInt = Annotated[int, Range(0)]
Bytes = Annotated[int, Range(0, MOST_BYTES)]
PositiveInt = Annotated[int, Range(1)]
NonNegative = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
Cosine = Annotated[float, Range(-1, 1)]
Shares = tuple[tuple[str, float], ...]
"""A number from 0 to 1 for each of some names, in their order."""

CpuBackend = Literal["auto", "standard", "compile", "ipex", "openvino"]
Precision = Literal["auto", "fp32", "bf16", "int8"]
VectorPrecision = Literal["float32", "float16", "int8", "bits", "none"]
Durability = Literal["full", "normal"]
Language = Literal[
    "auto", "arabic", "armenian", "basque", "catalan", "czech", "danish", "dutch", "english", "estonian",
    "finnish", "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian",
    "lithuanian", "norwegian", "persian", "polish", "portuguese", "romanian", "russian", "spanish", "swedish",
    "tamil", "turkish",
]  # fmt: skip
Target = Literal["auto", "cuda", "rocm", "vulkan", "mps", "cpu", "arm"]


@dataclass(frozen=True)
class EngineConfig:
    """Models and their weights."""

    text_model: str = "minilm"
    """Name of the model in ``models_dir`` that embeds text, or a path to a model directory."""
    audio_model: str = "whisper-tiny"
    """Name of the model in ``models_dir`` that embeds sounds, or a path to a model directory."""
    image_model: str = "clip-vit-base-patch32"
    """Name of the model in ``models_dir`` that embeds pictures, or a path to a model directory."""
    image_text_model: str = ""
    """The text side of a CLIP ``image_model``, given in the same way; by default ``<image_model>-text``."""
    models_dir: str = "~/.cache/aios_db/models"
    """Where model directories live (``<models_dir>/<name>/weights.parquet``)."""
    mmap: bool = True
    """Map weight files instead of reading them."""
    max_resident_bytes: Bytes = 0
    """Release unused weights above this many resident bytes, least recently used first; 0 is no limit."""
    least_available: Share = 0.05
    """Release unused weights when less than this share of the memory, or than 1 GiB, is available.

    The memory is the machine's or that of the control group (container) with the least left; 0 is never.
    """
    batch_tokens: NonNegativeInt = 0
    """Most tokens, padding included, in one forward pass; 0 is 512 on a CPU and 16,384 on a GPU."""


@dataclass(frozen=True)
class CpuConfig:
    """Inference on the CPU."""

    backend: CpuBackend = "auto"
    """Which back end runs a model; ``auto`` times the candidates once a machine and model."""
    precision: Precision = "auto"
    """Arithmetic allowed; ``auto`` takes the fastest that keeps ``min_cosine`` to fp32."""
    threads: NonNegativeInt = 0
    """Threads of a forward pass; 0 is all cores."""
    min_cosine: Cosine = 0.99
    """Cosine to the fp32 original under which a faster precision is not used."""


@dataclass(frozen=True)
class DeviceConfig:
    """Inference and quantization on an accelerator."""

    target: Target = "auto"
    """The device to run on; ``auto`` prefers a GPU."""
    amp: bool = True
    """Automatic mixed precision on CUDA."""
    vram_threshold: Share = 0.9
    """Share of the device memory above which a call is finished on the CPU."""
    vram_budget_bytes: Bytes = 0
    """Most device memory a model may hold before its layers are streamed; 0 is what the device has."""
    fallback_enabled: bool = True
    """Finish on the CPU when the device is missing or fails; otherwise raise."""


@dataclass(frozen=True)
class StorageConfig:
    """The Lance tables."""

    dimension: Annotated[int, Range(1)] = 384
    """Length of a text vector in a new database when no text model says it."""
    max_text_bytes: Annotated[int, Range(1, MOST_BYTES)] = 16_777_216
    """Most bytes (UTF-8) of a text, a title or any other text column of a memory that is written."""
    compact_after_fragments: Annotated[int, Range(2)] = 16
    """Compact in the background when a table has this many small fragments."""
    maintenance_delay_s: NonNegative = 2.0
    """Recall counts and the derived link column are written, and tables compacted, so long after a write."""
    link_recalled_s: NonNegative = 600.0
    """Links between memories that were recalled together are written so long after, or by `optimize`."""
    keep_versions_s: NonNegative = 600.0
    """How long a replaced version stays readable for other processes' running statements."""
    durability: Durability = "full"
    """Whether a write is forced to the disk before it is acknowledged; ``normal`` leaves that to the system.

    After a loss of power ``full`` has every acknowledged write, ``normal`` all but the last seconds'.
    """
    keep_changes: NonNegativeInt = 10_000
    """How many of the last changes `changes` lists, up to twice as many; 0 keeps no log of them."""
    confirm_forget: NonNegativeInt = 1_000
    """Deleting more memories than this at once, be it by `undo`, asks for `confirm`; 0 never asks."""
    keep_versions_bytes: Bytes = 500_000
    """Replaced versions that take more, and more than half of the tables, go after a second for each megabyte
    of the tables, at least 3 and at most 30 seconds."""
    index_cache_bytes: Bytes = 4_000_000
    """Most memory for what was read of Lance's scalar indices; one cache for all tables."""
    metadata_cache_bytes: Bytes = 1_000_000
    """Most memory for what was read of manifests and files; one cache for all tables."""
    malloc_arenas: NonNegativeInt = 2
    """Heaps that the C library spreads allocations of the process over (glibc); 0 leaves it at 8 per core.

    The fewer they are, the less freed memory lies idle in them. ``MALLOC_ARENA_MAX`` in the environment wins.
    """
    lock_timeout_s: NonNegative = 60.0
    """How long a writer waits for another process's write."""


@dataclass(frozen=True)
class LinksConfig:
    """Links made as memories are written."""

    similar_threshold: Cosine = 0.6
    """Least cosine of two memories for a `similar` link."""
    similar_neighbors: NonNegativeInt = 4
    """Most `similar` links made for a new memory."""
    entity_max_memories: NonNegativeInt = 32
    """A name or phrase in more memories than this makes no `same_entity` link."""
    entity_links: NonNegativeInt = 8
    """Most `same_entity` links made for a new memory."""
    cross_modal_window_s: NonNegative = 60.0
    """A picture or sound without words is linked with what was remembered around it, in its session or in so
    many seconds; of more than 8 memories in one call, `occurred_at` counts alone. 0 makes no such links."""
    reinforce_recalled: bool = True
    """Count recalls, and strengthen the links between memories that are recalled together."""


@dataclass(frozen=True)
class RecallConfig:
    """Defaults of `recall`; the same for every data set."""

    k: PositiveInt = 10
    """Memories returned."""
    hops: NonNegativeInt = 1
    """Links followed from the best matches."""
    vector_weight: NonNegative = 1.5
    """Weight of the standardised vector score."""
    keyword_weight: NonNegative = 1.0
    """Weight of the standardised BM25 score."""
    graph_weight: NonNegative = 1.0
    """Weight of the score that arrives over links."""
    recency_weight: NonNegative = 0.0
    """Weight of recency, which is 1 now, and 1/e after `recency_days`."""
    recency_days: Annotated[float, Range(1e-6)] = 30.0
    """Age in days at which recency is 1/e."""
    superseded_penalty: NonNegative = 4.0
    """Taken off the score of a memory that no longer holds (``valid_until``)."""
    principle_penalty: NonNegative = 4.0
    """Taken off the score of a principle, which stands beside what it was made of and takes its place."""
    joint_weight: NonNegative = 2.5
    """Weight of the standardised score in the joint space of text, sound and picture."""


@dataclass(frozen=True)
class HeatConfig:
    """How warm a memory is: `memory_heat` and the view `tiers`."""

    half_life_s: Annotated[float, Range(1)] = 604_800.0
    """In so many seconds after it was used last, a memory's recency halves."""
    recency_weight: NonNegative = 0.5
    """Weight of how long ago it was used."""
    frequency_weight: NonNegative = 0.3
    """Weight of how often it was recalled."""
    content_weight: NonNegative = 0.2
    """Weight of how rare its words are in the store (TF-IDF)."""
    hot: Share = 0.5
    """A memory is hot with at least this heat."""
    cold: Share = 0.2
    """A memory is cold with less than this heat."""


@dataclass(frozen=True)
class ConsolidationConfig:
    """What becomes of short-term memories; see docs/lifecycle.md."""

    policy: Literal["archive", "delete"] = "archive"
    """What becomes of memories of which a principle was made."""
    schedule: str = "0 3 * * *"
    """When the consolidator runs, as a cron expression in local time; `never` is never."""
    pressure_rows: NonNegativeInt = 0
    """It also runs when so many memories are in the short tier; 0 is never."""
    pressure_bytes: Bytes = 0
    """It also runs when the database takes so many bytes on the disk; 0 is never."""
    check_interval_s: Annotated[float, Range(0.05)] = 60.0
    """How often the consolidator looks whether there is pressure."""
    min_age_s: NonNegative = 3_600.0
    """The consolidator leaves alone what was stored less than so long ago; by hand, all is taken."""
    min_cluster: Annotated[int, Range(2)] = 3
    """Least memories of a principle."""
    max_cluster: Annotated[int, Range(2)] = 12
    """Most memories of a principle."""
    min_affinity: NonNegative = 0.4
    """Least weight of the links by which two memories belong together."""
    sentences: PositiveInt = 3
    """Most sentences of a principle that quotes."""
    supersede: bool = True
    """First note what no longer holds; that is left out then."""
    fold_from: NonNegativeInt = 0
    """First make one memory of so many, or more, that say the same in the same words; 0 is never."""
    compress: bool = True
    """The consolidator compresses what the section `compression` names when it is done."""
    evict: bool = False
    """The consolidator then forgets what the section `eviction` names, and erases what expired long ago."""
    max_loss: Share = 0.05
    """More than this share of what past queries had found is not lost, by all consolidations of an owner."""
    past_queries: NonNegativeInt = 256
    """How many past queries are kept to measure that, up to twice as many; 0 keeps none."""


@dataclass(frozen=True)
class LlmConfig:
    """A language model that writes principles; without one, they quote."""

    provider: Literal["none", "ollama", "claude", "openai"] = "none"
    """Who answers; ``openai`` is every endpoint that speaks its protocol."""
    model: str = ""
    """The model's name there."""
    base_url: str = ""
    """Where it is; by default the provider's own address, for Ollama ``http://127.0.0.1:11434``."""
    api_key_variable: str = ""
    """Environment variable with the key; by default ``ANTHROPIC_API_KEY`` or ``OPENAI_API_KEY``."""
    stream: bool = False
    """Take the answer in pieces, as it comes."""
    timeout_s: Annotated[float, Range(0.1)] = 60.0
    """How long an answer may take."""
    retries: NonNegativeInt = 3
    """How often a request is made again when the model is busy, or cannot be reached."""
    backoff_s: NonNegative = 1.0
    """Wait before the first of these; it doubles with each."""
    max_tokens: PositiveInt = 400
    """Most tokens of an answer."""
    tokens_per_run: PositiveInt = 200_000
    """Most tokens, both ways, of one consolidation run; what is left is quoted."""
    requests_per_minute: PositiveInt = 60
    """Most requests in a minute."""


@dataclass(frozen=True)
class CompressionConfig:
    """What `compress` keeps of memories, by tier; see lifecycle.md."""

    short: VectorPrecision = "float32"
    """What is kept of the vectors of short-term memories: all numbers, in fewer bits, or none."""
    long: VectorPrecision = "float32"
    """The same of long-term memories."""
    archived: VectorPrecision = "bits"
    """The same of archived memories."""
    text: Literal["zstd", "fsst"] = "zstd"
    """How compressed memories' texts are encoded: Zstandard in blocks of 512 KiB, or FSST, each by itself."""
    sentences: PositiveInt = 3
    """Most sentences of a text that ``compress(text, semantic := true)`` keeps."""
    fidelity: Share = 0.8
    """Least likeness (cosine, and share of names and numbers) of a paraphrase; below it the text is kept."""


@dataclass(frozen=True)
class EvictionConfig:
    """What `evict` forgets; see lifecycle.md. What is pinned stays."""

    short_rows: NonNegativeInt = 0
    """Most short-term memories; 0 is no limit."""
    long_rows: NonNegativeInt = 0
    """Most long-term memories; 0 is no limit."""
    archived_rows: NonNegativeInt = 0
    """Most archived memories; 0 is no limit."""
    short_bytes: Bytes = 0
    """Most bytes of texts, titles and media of short-term memories; 0 is no limit."""
    long_bytes: Bytes = 0
    """The same of long-term memories."""
    archived_bytes: Bytes = 0
    """The same of archived memories."""
    least: Literal["heat", "use"] = "heat"
    """Of what is too much, the memories of least heat go first, or those that were used least recently."""
    least_importance: Share = 0.0
    """Memories of less importance go, however many there are."""
    grace_s: NonNegative = 604_800.0
    """So long after a memory has expired it is erased; until then it can be brought back."""


@dataclass(frozen=True)
class TrustConfig:
    """How much a memory counts, by where it came from; see docs/security.md."""

    sources: Shares = ()
    """Trust by pattern of the `source` (`*`, `?` and `[…]` as in file names, upper and lower case alike);
    the first that fits holds.

    In YAML a section of `pattern: trust`, in the environment `web:*=0.2, tool:*=0.5`.
    """
    default: Share = 1.0
    """Trust in a source that no pattern fits."""
    quarantine_below: Share = 0.5
    """Text from a source trusted less than this is held in quarantine when it reads like an instruction."""
    source_share: Share = 0.3
    """Of the memories that `recall` returns, the most that one source which is not trusted fully may have."""


@dataclass(frozen=True)
class SearchConfig:
    """The search index."""

    index: Literal["auto", "mapped", "memory"] = "auto"
    """Where the index is kept: in files, which are mapped, or in memory alone.

    In memory it takes no disk, and is made of the tables each time the database is opened. ``auto`` is
    ``mapped`` from some 20,000 memories on; of fewer the files are packed, without the vectors, which the
    table has, and read into memory. Packed, too, are they where nearly all memories are compressed; of fewer
    than 4,096 of such there are none.
    """

    language: Language = "auto"
    """Language of the memories, whose stemmer is used; ``auto`` tells it from each text.

    Another one than the index was made with makes the index anew when the database is opened.
    """


@dataclass(frozen=True)
class QuantizationConfig:
    """How models are quantized."""

    method: Literal["ptq", "gptq", "full"] = "gptq"
    """Rounding with fitted scales, GPTQ, or GPTQ and long distillation; see `distillation_steps`."""
    target: Literal["int8", "int2"] = "int8"
    """Bits of the quantized layers."""
    group_size: Annotated[int, Range(-1)] = 64
    """2-bit weights that share a scale and zero point; 0 is a whole channel, -1 the whole tensor."""
    symmetric: bool = False
    """Do without zero points in 2-bit layers; those of 8 bits are another setting."""
    int8_zero_points: bool = False
    """Give 8-bit layers and tables zero points where that lowers the error of their weights."""
    mixed_precision: bool = True
    """Let what costs most in 2 bits have more, as `max_bits` allows."""
    mixed_by: Literal["layer", "row"] = "layer"
    """What gets more bits: layers, as int8, or single rows, which other readers of V2 files see in 2 bits."""
    min_int2: Annotated[float, Range(0, 1)] = 0.5
    """Least share of the weights of 2-bit layers that keep 2 bits when single rows get more."""
    max_bits: Annotated[float, Range(2, 8)] = 5.55
    """Bits per weight over the quantized linear layers, scales and zero points included."""
    keep_int8: str = ""
    """Layers that get 8 bits whatever they cost: parts of their names, separated by commas."""
    keep_fp16: str = ""
    """Layers that stay floats of 16 bits: parts of their names, separated by commas."""
    fp16_layers: NonNegativeInt = 0
    """So many more layers stay floats of 16 bits, those that cost most in 2 bits."""
    calibration_tokens: Annotated[int, Range(-1)] = -1
    """Tokens that GPTQ looks at; -1 is 240,000, less for large models. Rounding takes at most 40,000."""
    damping: NonNegative = 0.01
    """Added to the Hessian's diagonal, as a share of its mean."""
    act_order: bool = True
    """Round the inputs of greatest activation first."""
    refinements: NonNegativeInt = 4
    """Rounds of refitting scales and integers after GPTQ's own pass."""
    distillation_steps: Annotated[int, Range(-1)] = -1
    """Steps of distillation against the original model; -1 is as many as suit the method, 0 none.

    By itself, none is taken for a model of more than 128 million weights in its linear layers.
    """
    distillation_tokens: PositiveInt = 512
    """Tokens in a step of distillation."""
    learning_rate: NonNegative = 0.005
    """Greatest learning rate of distillation, in steps of the 2-bit grid.

    More steps than 800 take less, by the square root.
    """
    seed: int = 0
    """Order of the calibration texts."""


@dataclass(frozen=True)
class ValidationConfig:
    """When a converted model is accepted."""

    min_cosine: Cosine = 0.95
    """A version whose mean cosine to fp32 is lower is refused."""
    max_perplexity_increase: NonNegative = 0.15
    """A relative rise above this is logged as a warning."""
    max_texts: PositiveInt = 512
    """Most texts that a version is compared on, fewer when it has over 100 million weights.

    Bundled sentences are added when there are fewer than 64.
    """


@dataclass(frozen=True)
class LoggingConfig:
    """The `aios_db` logger, while a database is open whose configuration differs from these defaults.

    Lines go to standard error; where the program has a handler for a record, that writes it, in its own form.
    Of several open databases the most talkative level holds, and the format of the last.
    """

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"
    """Least level that is emitted."""
    format: Literal["text", "json"] = "text"
    """One line of text or one JSON object a record."""


@dataclass(frozen=True)
class FederationConfig:
    """How `aios federation` sends cards, where its options do not say."""

    delta_sync: bool = True
    """Send what changed since a version that both sides have; off sends cards whole."""
    density: Share = 0.0
    """Send this share of the changed numbers, the largest, and owe the rest; 0 sends the change exactly."""
    bits: Annotated[int, Range(1, 8)] = 2
    """Of each number that is sent with a `density`."""


@dataclass(frozen=True)
class TelemetryConfig:
    """What is recorded of operations: the view `metrics`, spans of OpenTelemetry, Prometheus."""

    metrics: bool = True
    """Record how often and how long operations take; a microsecond for each."""
    texts: bool = False
    """Put texts into spans: questions (``gen_ai.memory.query.text``) and SQL (``db.query.text``)."""


@dataclass(frozen=True)
class Config:
    """The whole configuration; every section has defaults."""

    strict: bool = False
    """Raise `ConfigError` on an invalid value instead of logging it and using the default."""
    engine: EngineConfig = field(default_factory=EngineConfig)
    cpu: CpuConfig = field(default_factory=CpuConfig)
    device: DeviceConfig = field(default_factory=DeviceConfig)
    storage: StorageConfig = field(default_factory=StorageConfig)
    links: LinksConfig = field(default_factory=LinksConfig)
    recall: RecallConfig = field(default_factory=RecallConfig)
    heat: HeatConfig = field(default_factory=HeatConfig)
    consolidation: ConsolidationConfig = field(default_factory=ConsolidationConfig)
    llm: LlmConfig = field(default_factory=LlmConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    compression: CompressionConfig = field(default_factory=CompressionConfig)
    eviction: EvictionConfig = field(default_factory=EvictionConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    quantization: QuantizationConfig = field(default_factory=QuantizationConfig)
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    federation: FederationConfig = field(default_factory=FederationConfig)
    logging: LoggingConfig = field(default_factory=LoggingConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)


DEFAULTS = Config()
"""What holds where nothing is configured."""
