"""The two contracts: `Task`, one trainable stage, and `Method`, a chain of stages.

A *player* is a named set of parameters with an optimiser of its own ("motion", "renderer",
"disc"). The training step knows players and objectives only, so an L1-only stage and a GAN stage
are the same code: one shared forward of the generating path, then one gradient per objective.
"""

import dataclasses
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import flax.linen as nn
import flax.struct
import jax
import numpy as np

from talkface_jax.capabilities import Declaration

Batch = Mapping[str, jax.Array]
Sample = Mapping[str, np.ndarray]
"""One window as a view gives it, on the host."""
Outputs = Mapping[str, jax.Array]
PyTree = Any
LAST = 2**31 - 1
"""The step that `Task.forward` is given where nothing is trained: that of a run that has ended."""
Variables = Mapping[str, PyTree]
"""A network's Linen variables: {"params": …} and, where it has them, {"batch_stats": …} of
BatchNorm and {"constants": …}, which `Task.fitted` computes from data and training leaves alone."""


class Update(enum.Enum):
    """Which parameters of the other players an objective sees within one step."""

    SIMULTANEOUS = "simultaneous"
    """Those from before the step."""
    ALTERNATING = "alternating"
    """Those already updated by the objectives that stand before it."""


@dataclasses.dataclass(frozen=True)
class LossContext:
    """What a loss term may look at.

    Attributes:
      outputs: results of `Task.forward`; gradients flow into them for players of the generating
        path only.
      batch: the batch of the task's data view.
      apply: player name -> function of the network's inputs, with the parameters in force bound to
        it (the discriminators, for adversarial terms).
      frozen: variables of frozen networks by name, as `Task.frozen` returned them.
      step: the number of updates done so far, a traced integer.
    """

    outputs: Outputs
    batch: Batch
    apply: Mapping[str, Callable[..., Any]]
    frozen: Mapping[str, PyTree]
    step: jax.Array
    _memo: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)

    def once(self, key: str, make: Callable[[], Any]) -> Any:
        """The value of `make()`, computed once for all terms of an objective that ask for `key`."""
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]


class Term(Protocol):
    """One weighted loss term (`losses.terms.LossTerm`)."""

    @property
    def name(self) -> str:
        """Unique within its objective; logged as `loss/<player>/<name>`."""
        ...

    def weight_at(self, step: jax.Array) -> jax.Array | float:
        """The weight after `step` updates."""
        ...

    def __call__(self, context: LossContext) -> jax.Array:
        """The unweighted scalar."""
        ...


@dataclasses.dataclass(frozen=True)
class Objective:
    """What some players minimise together: sum of weight * term.

    Each of them has an optimiser of its own; those of the generating path share one pull-back. It
    is active for start <= step < stop; the step is compiled once per set of active objectives, so a
    phase that needs no perceptual network does not pay for it. Within its activity the players are
    updated every `every`-th step. At most one active objective updates a player.
    """

    players: tuple[str, ...]
    terms: tuple[Term, ...]
    update: Update = Update.SIMULTANEOUS
    every: int = 1
    start: int = 0
    stop: int | None = None

    @property
    def name(self) -> str:
        """The players, joined by "+": how its values are logged."""
        return "+".join(self.players)

    def active(self, step: int) -> bool:
        """Whether the objective takes part in the update that follows `step` updates."""
        return self.start <= step and (self.stop is None or step < self.stop)


class Net(flax.struct.PyTreeNode):
    """One player's part of the training state."""

    params: PyTree
    stats: PyTree
    constants: PyTree
    opt_state: PyTree

    @property
    def variables(self) -> Variables:
        """What `nn.Module.apply` takes."""
        others = {"batch_stats": self.stats, "constants": self.constants}
        return {"params": self.params, **{name: tree for name, tree in others.items() if tree}}


class Averages(flax.struct.PyTreeNode):
    """Exponential averages of a player's parameters and of its batch statistics."""

    params: PyTree
    stats: PyTree


class TrainState(flax.struct.PyTreeNode):
    """Everything that a checkpoint must hold for an exact resume, but for the data position.

    `rng` is the run's key: step k draws from `jax.random.fold_in(rng, k)`. `ema` holds averages by
    player, for those of the generating path that are trained, where the config asks for them.
    """

    step: jax.Array
    rng: jax.Array
    nets: dict[str, Net]
    ema: dict[str, Averages]


class DataView(Protocol):
    """How a stage looks at a prepared data set: which windows, and what of them.

    A view is picklable and pure: the same segment, start and generator state give the same arrays.

    The segment is a `data.reader.SegmentReader`. Beside its own record it leads to others of the
    same data set, each a reader again: `neighbour` and `across` (frames beyond the segment's ends,
    from the same clip), `other_clip` (same speaker) and `other_speaker`, both drawn from the
    generator that `sample` got and from nothing else. All but `across` give None where there is no
    such segment, and a lone one has none. A record that cannot be read is named, whosever sample it
    was for, and another window takes the place. A view that needs the emotion of every clip has an
    attribute `labels` that is true; data without are refused then.
    """

    @property
    def name(self) -> str:
        """For logs and cache keys."""
        ...

    @property
    def window(self) -> int:
        """Frames of one window."""
        ...

    @property
    def faces(self) -> bool:
        """Whether every frame of a window must show a face; False for views of the sound alone."""
        ...

    def spec(self, batch_size: int) -> dict[str, jax.ShapeDtypeStruct]:
        """Shapes and types of a batch."""
        ...

    def sample(
        self, segment: Any, start: int, rng: np.random.Generator, *, train: bool
    ) -> dict[str, np.ndarray]:
        """One window of a decoded segment, without the batch axis; `train` draws augmentations."""
        ...


class Metric(Protocol):
    """A mergeable running value (`metrics.base`)."""

    def merge(self, other: Any) -> Any:
        """The metric over both sets of samples."""
        ...

    def compute(self) -> Any:
        """The value: a float, or a dict of floats."""
        ...


@dataclasses.dataclass(frozen=True)
class Previews:
    """What TensorBoard shows of one evaluation batch.

    images: name -> (h, w, 3) uint8; videos: name -> (t, h, w, 3) uint8 at 25 fps;
    audio: name -> (s,) float32 at 16 kHz.
    """

    images: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    videos: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    audio: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)


class Task(Protocol):
    """One trainable stage (`methods.base.StageTask`); players in `generators` generate, the others
    only judge."""

    @property
    def method(self) -> str:
        """Registry name of the method that the stage is trained for."""
        ...

    @property
    def stage(self) -> str:
        """Registry name of the stage."""
        ...

    @property
    def nets(self) -> Mapping[str, nn.Module]:
        """The networks by player."""
        ...

    @property
    def generators(self) -> tuple[str, ...]:
        """Players of the generating path."""
        ...

    @property
    def trained(self) -> Mapping[str, tuple[str, ...]]:
        """By player the patterns of parameter paths ("decoder", "*/bias") that are trained.

        A player that is left out is trained whole; one with no pattern not at all: it has neither
        optimiser state nor averages.
        """
        ...

    @property
    def means_of_items(self) -> bool:
        """Whether every loss is a mean over items; one over sets (MMD) has another meaning on a
        part of a batch, so `train.accumulate` is refused then."""
        ...

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """In the order in which alternating updates happen."""
        ...

    @property
    def view(self) -> DataView:
        """The data view it trains on."""
        ...

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Variables]:
        """Fresh variables for every player; traceable, so that it runs sharded under jit."""
        ...

    def fitted(self, samples: Callable[[], Iterable[Sample]]) -> Mapping[str, Variables]:
        """Initial values that are computed from training data instead of drawn; {} for none.

        Called once, on the host, where a run starts afresh. `samples()` goes through a fixed spread
        of at most 2,048 training samples without augmentation, the same on every process.

        Returns:
          Partial variables by player, {"params": …, "constants": …}, laid over the fresh ones.
        """
        ...

    def frozen(self) -> dict[str, PyTree]:
        """Variables of pretrained networks on the generating path or in losses, by name.

        Loaded once, on the host. They have no optimiser and no averages, and are in no checkpoint.
        """
        ...

    def forward(
        self,
        variables: Mapping[str, Variables],
        frozen: Mapping[str, PyTree],
        batch: Batch,
        rng: jax.Array,
        *,
        step: jax.Array,
        train: bool,
    ) -> tuple[Outputs, dict[str, PyTree]]:
        """The generating path: outputs, and the new batch statistics by player.

        Gradients flow through the frozen networks, but none into them. `step` counts the updates
        done so far, for what changes over a run (scheduled sampling); without `train` it is `LAST`.
        """
        ...

    def metrics(self, outputs: Outputs, batch: Batch, frozen: PyTree) -> dict[str, Any]:
        """Online metrics of an evaluation batch (`batch["mask"]`: 0 for padding); traceable."""
        ...

    def previews(self, outputs: Outputs, batch: Batch) -> Previews:
        """Pictures of one evaluation batch, made on the host."""
        ...


Arrays = Mapping[str, Any]
"""A program's inputs or outputs by name."""


@dataclasses.dataclass(frozen=True)
class Program:
    """Networks of a method as they are exported: a pure function of (variables, inputs).

    Attributes:
      name: unique within the method.
      players: stage by player: whose variables it takes from that stage's directory.
      function: gets the variables by player and frozen network, and the inputs.
      inputs: shapes with the letters of symbolic dimensions ("b" batch, "t" frames, "r"
        references), and types.
      variables: shapes of the variables by player and frozen network, by `jax.eval_shape`.
      frozen: names of the frozen networks that it takes (`Method.frozen`).
      state: inputs that come out again under the same name, shape and type. Whoever calls passes
        what came out of the call before; their buffers are donated, and they stay on the device.
    """

    name: str
    players: Mapping[str, str]
    function: Callable[[Mapping[str, Variables], Mapping[str, jax.Array]], Mapping[str, jax.Array]]
    inputs: Mapping[str, tuple[tuple[int | str, ...], Any]]
    variables: Callable[[], Mapping[str, Any]]
    frozen: tuple[str, ...] = ()
    state: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class FrozenNetwork:
    """A pretrained network that goes into a method's bundle.

    Attributes:
      name: as programs call it; no player of the method has it.
      load: its variables, on the host; raises WeightsError where its file is missing or altered.
      licence, lineage: its terms in one line; where it comes from, plain JSON; sha256: of its file.
    """

    name: str
    load: Callable[[], Variables]
    licence: str
    sha256: str
    lineage: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Programs(Protocol):
    """The programs of a loaded bundle, as a chain runs them."""

    def call(self, name: str, inputs: Arrays) -> Mapping[str, Any]:
        """Runs a program; its outputs stay on the device."""
        ...

    def start(self, name: str, **sizes: int) -> dict[str, Any]:
        """Zeros for the state of a program, on the device; `sizes` are its symbolic dimensions."""
        ...


class Method(Protocol):
    """A chain of stages that turns speech and a face into frames (inference only)."""

    @property
    def declaration(self) -> Declaration:
        """What it says of itself."""
        ...

    @property
    def config_classes(self) -> Mapping[str, type]:
        """Task config dataclass by stage, to read a bundle's config back."""
        ...

    def requires(self, configs: Mapping[str, Any]) -> Mapping[str, str]:
        """What a bundle needs besides its programs, by name: cache keys of its audio features. It
        is refused where the installed version gives others."""
        ...

    def frozen(self, configs: Mapping[str, Any]) -> Sequence[FrozenNetwork]:
        """The frozen networks that belong into its bundle."""
        ...

    def files(self, configs: Mapping[str, Any]) -> Mapping[str, bytes]:
        """Further files that belong into its bundle, by name."""
        ...

    def programs(self, configs: Mapping[str, Any]) -> Sequence[Program]:
        """What to export, from the task configs by stage."""
        ...

    def chain(self, configs: Mapping[str, Any], programs: Programs) -> Any:
        """The runnable chain (`synthesize.contract.Chain`) over the programs of a bundle."""
        ...
