"""What every method would write again: a stage's task, a session, and calls of programs.

Training code and inference share this file, so it imports neither.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from talkface_jax.capabilities import Declaration
from talkface_jax.landmarks.boxes import CropGeometry
from talkface_jax.methods.finetuning import REPLAY, replay_faces
from talkface_jax.ranges import check_ranges
from talkface_jax.task import (
    Batch,
    FrozenNetwork,
    Previews,
    Program,
    PyTree,
    Sample,
    Variables,
)

if TYPE_CHECKING:
    from talkface_jax.media.composite import Patch

Call = Callable[[str, Mapping[str, Any]], Mapping[str, Any]]
"""Runs a program of the bundle by name."""
Frame = UInt8[np.ndarray, "h w 3"]


@dataclasses.dataclass(frozen=True)
class Inputs:
    """Arguments of a network; see `inputs`."""

    args: tuple[Any, ...]
    options: Mapping[str, Any]


def inputs(*args: Any, **options: Any) -> Inputs:
    """The arguments that a network takes."""
    return Inputs(args, options)


class StageTask:
    """A stage (`task.Task`) with what is usual: fresh variables from the view's shapes, nothing
    fitted, nothing frozen, everything trained, losses that are means of items.

    A stage gives `config_class`, `name`, `generators`, `networks`, `view` and `objectives`;
    `entries` or else `inputs_of`; `output` or else `forward`; `metrics` and `previews` where it has
    some.

    Args:
      config: the stage's own config.
      name: "<method>/<stage>" as it is registered; by default the class's own.

    Raises:
      ConfigError: a field out of its range, or fields that contradict each other (`check`).
    """

    config_class: ClassVar[type]
    name: str
    generators: ClassVar[tuple[str, ...]]
    trained: Mapping[str, tuple[str, ...]] = {}
    means_of_items: ClassVar[bool] = True
    entries: ClassVar[tuple[str, ...]] = ()
    """Batch entries that the network of a stage with one player takes, in its order."""
    output: ClassVar[str] = ""
    """Name of what that network returns; see `forward`."""

    def __init__(self, config: Any, *, name: str = ""):
        check_ranges(config, where="task")
        self.config = config
        self.name = name or self.name
        self.check(config)

    @property
    def method(self) -> str:
        """Registry name of the method."""
        return self.name.partition("/")[0]

    @property
    def stage(self) -> str:
        """Registry name of the stage."""
        return self.name.partition("/")[2]

    @cached_property
    def nets(self) -> Mapping[str, nn.Module]:
        """The networks by player."""
        return self.networks(self.config)

    def check(self, config: Any) -> None:
        """Refuses fields that contradict each other, with a ConfigError."""

    def networks(self, config: Any) -> Mapping[str, nn.Module]:
        """Builds the networks by player, in the order in which their variables are drawn."""
        raise NotImplementedError

    def inputs_of(self, batch: Batch) -> Mapping[str, Inputs]:
        """What each player is given for a batch; by default one player, its `entries`."""
        (player,) = self.generators
        return {player: inputs(*(batch[key] for key in self.entries))}

    def init(self, rng: jax.Array, batch: Batch) -> dict[str, Variables]:
        """Fresh variables from a batch's shapes."""
        first = {key: jnp.zeros((1, *item.shape[1:]), item.dtype) for key, item in batch.items()}
        given = self.inputs_of(first)
        keys = [rng] if len(self.nets) == 1 else jax.random.split(rng, len(self.nets))
        return {
            player: net.init(key, *given[player].args, **given[player].options)
            for key, (player, net) in zip(keys, self.nets.items(), strict=True)
        }

    def run(
        self,
        player: str,
        variables: Mapping[str, Variables],
        given: Inputs,
        *,
        rng: jax.Array | None = None,
        **options: Any,
    ) -> tuple[Any, dict[str, PyTree]]:
        """A player's network on its inputs: the result, and its new batch statistics if it has any.

        `rng` is for dropout; `options` are further arguments of the network.
        """
        result, changed = self.nets[player].apply(
            variables[player],
            *given.args,
            **{**given.options, **options},
            rngs=None if rng is None else {"dropout": rng},
            mutable=["batch_stats"],
        )
        stats = changed.get("batch_stats")
        return result, ({player: stats} if stats else {})

    def forward(
        self,
        variables: Mapping[str, Variables],
        frozen: Mapping[str, PyTree],
        batch: Batch,
        rng: jax.Array,
        *,
        step: jax.Array,
        train: bool,
    ) -> tuple[Mapping[str, Any], dict[str, PyTree]]:
        """The one generator on its inputs; what it returns is called `output`."""
        del frozen, step
        (player,) = self.generators
        takes = inspect.signature(type(self.nets[player]).__call__).parameters
        options = {"train": train, "rng": rng} if "train" in takes else {}
        made, stats = self.run(player, variables, self.inputs_of(batch)[player], **options)
        return {self.output: made}, stats

    def fitted(self, samples: Callable[[], Iterable[Sample]]) -> Mapping[str, Variables]:
        """None: everything is drawn."""
        del samples
        return {}

    def frozen(self) -> dict[str, PyTree]:
        """None."""
        return {}

    def metrics(
        self, outputs: Mapping[str, Any], batch: Batch, frozen: Mapping[str, PyTree]
    ) -> dict[str, Any]:
        """None."""
        del outputs, batch, frozen
        return {}

    def previews(self, outputs: Mapping[str, Any], batch: Batch) -> Previews:
        """None."""
        del outputs, batch
        return Previews()


def view_of(cls: type, config: Any, **others: Any) -> Any:
    """A data view whose fields are the config's fields of the same name, and `others`."""
    names = {field.name for field in dataclasses.fields(cls)} & set(vars(config))
    return cls(**{name: getattr(config, name) for name in names - set(others)}, **others)


def batch_spec(
    batch_size: int,
    floats: Mapping[str, tuple[int, ...]],
    images: Mapping[str, tuple[int, ...]] | None = None,
) -> dict[str, jax.ShapeDtypeStruct]:
    """What `DataView.spec` gives, from the shapes of one sample: float32 entries, and bytes."""
    kinds = ((floats, np.float32), (images or {}, np.uint8))
    return {
        key: jax.ShapeDtypeStruct((batch_size, *shape), kind)
        for shapes, kind in kinds
        for key, shape in shapes.items()
    }


class ChainMethod:
    """A method (`task.Method`) without frozen networks and without features of its own."""

    declaration: ClassVar[Declaration]
    config_classes: ClassVar[Mapping[str, type]]

    def requires(self, configs: Mapping[str, Any]) -> Mapping[str, str]:
        """Nothing."""
        del configs
        return {}

    def frozen(self, configs: Mapping[str, Any]) -> Sequence[FrozenNetwork]:
        """None."""
        del configs
        return ()

    def files(self, configs: Mapping[str, Any]) -> Mapping[str, bytes]:
        """Replay faces, where it can be fine-tuned on one picture."""
        del configs
        return {REPLAY: replay_faces()} if self.declaration.finetuning else {}


def shapes_of(net: nn.Module, *given: tuple[int, ...], **options: tuple[int, ...]) -> Any:
    """Shapes of a network's variables, from the shapes of its float32 inputs."""

    def shape(dims: tuple[int, ...]) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(dims, jnp.float32)

    return jax.eval_shape(
        net.init,
        jax.random.key(0),
        *map(shape, given),
        **{name: shape(dims) for name, dims in options.items()},
    )


def program(
    name: str,
    *,
    player: str,
    stage: str,
    function: Callable[[Variables, Mapping[str, jax.Array]], Mapping[str, jax.Array]],
    inputs: Mapping[str, tuple[tuple[int | str, ...], Any]],
    variables: Callable[[], Any],
) -> Program:
    """A program of one player; `function` and `variables` are of that player alone."""
    return Program(
        name=name,
        players={player: stage},
        function=lambda given, arrays: function(given[player], arrays),
        inputs=inputs,
        variables=lambda: {player: variables()},
    )


def network_program(
    name: str,
    net: nn.Module,
    *,
    player: str,
    stage: str,
    inputs: Mapping[str, tuple[int | str, ...]],
    output: str,
) -> Program:
    """A program that is one network as it is: float32 inputs in its order of arguments, one output.

    Args:
      name, player, stage: as in `program`.
      net: the network.
      inputs: dimensions by name.
      output: name of what it returns.
    """
    dims = (tuple(1 if isinstance(d, str) else d for d in dims) for dims in inputs.values())
    shapes = tuple(dims)

    def function(variables: Variables, arrays: Mapping[str, jax.Array]) -> dict[str, Any]:
        return {output: net.apply(variables, *(arrays[key] for key in inputs))}

    return program(
        name,
        player=player,
        stage=stage,
        function=function,
        inputs={key: (dims, jnp.float32) for key, dims in inputs.items()},
        variables=lambda: shapes_of(net, *shapes),
    )


def parts(count: int, size: int) -> Iterator[Int[np.ndarray, " m"]]:
    """The numbers below `count`, so many at a time."""
    for first in range(0, count, size):
        yield np.arange(first, min(first + size, count))


def in_parts(
    function: Callable[[Int[np.ndarray, " m"]], Any], count: int, *, size: int
) -> np.ndarray:
    """`function` of the numbers below `count`, called on so many at a time, on the host."""
    return np.concatenate([np.asarray(function(part)) for part in parts(count, size)])


@dataclasses.dataclass(frozen=True)
class TrackedFace:
    """A tracked face, ready to be driven.

    Attributes:
      geometry: crop boxes and the scheme's points of every source frame.
      valid: source frames that show the face.
      order: indices of the frames that stand as landmark references.
    """

    geometry: CropGeometry
    valid: Bool[np.ndarray, " t"]
    order: Int[np.ndarray, " r"]


def crop(
    frame: Frame, box: Float32[np.ndarray, " 4"], size: int, *, cubic: bool = False
) -> UInt8[np.ndarray, "s s 3"]:
    """A square of a frame, resized; `cubic` keeps it sharper."""
    from talkface_jax.media.images import crop_resize

    return crop_resize(frame, box, (size, size), cubic=cubic)


def as_bytes(image: Any) -> UInt8[np.ndarray, "..."]:
    """Images in [0, 1] as bytes."""
    return np.rint(np.clip(np.asarray(image), 0.0, 1.0) * 255).astype(np.uint8)


@dataclasses.dataclass(frozen=True)
class Faces:
    """Generated faces of some output frames: what `Patch` holds, frame by frame."""

    images: UInt8[np.ndarray, "m s s 3"]
    boxes: Float32[np.ndarray, "m 4"]
    contours: Iterable[Float32[np.ndarray, "k 2"]]


class PatchSession:
    """One face and one recording (`synthesize.contract.Session`): picks the output frames that show
    a face, and has `draw` make them.

    Args:
      sources: index of the source frame that each output frame shows.
      valid: source frames with a face.
    """

    references: int = 1

    def __init__(self, sources: Int[np.ndarray, " n"], valid: Bool[np.ndarray, " t"]) -> None:
        self.sources, self._valid = sources, valid

    def advance(self, start: int, stop: int) -> None:
        """Makes what the output frames from `start` to before `stop` need, in order."""

    def draw(self, wanted: Int[np.ndarray, " m"], frames: Sequence[Frame]) -> Faces:
        """The faces of output frames, of which `frames` are the source frames shown there."""
        raise NotImplementedError

    def patches(self, start: int, frames: Sequence[Frame]) -> list["Patch | None"]:
        """The generated faces of output frames from `start` on; None where there is no face.

        Args:
          start: first output frame; not before that of an earlier call.
          frames: the source frames that are shown there.
        """
        from talkface_jax.media.composite import Patch

        numbers = np.arange(start, start + len(frames))
        self.advance(start, start + len(frames))
        wanted = numbers[self._valid[self.sources[numbers]]]
        if not len(wanted):
            return [None] * len(frames)
        faces = self.draw(wanted, [frames[k - start] for k in wanted])
        each = zip(wanted, faces.images, faces.boxes, faces.contours, strict=True)
        made = {k: Patch(image=image, box=box, contour=line) for k, image, box, line in each}
        return [made.get(k) for k in numbers]
