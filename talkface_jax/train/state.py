"""Making the training state, and reading variables out of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from talkface_jax.task import Averages, Batch, Net, Task, TrainState, Variables


def split_seed(seed: int) -> tuple[jax.Array, jax.Array]:
    """The key that draws the initial parameters and the key of the run (`TrainState.rng`)."""
    init_key, run_key = jax.random.split(jax.random.key(seed))
    return init_key, run_key


def draw(task: Task, *, seed: int) -> dict[str, Variables]:
    """The variables of every player with which a run of that seed begins, on the host.

    What the task fits to data or a run takes from elsewhere is not in them.
    """
    spec = task.view.spec(1)
    batch = {name: jnp.zeros(leaf.shape, leaf.dtype) for name, leaf in spec.items()}
    return jax.device_get(jax.jit(task.init)(split_seed(seed)[0], batch))


def create_state(
    task: Task,
    transforms: Mapping[str, optax.GradientTransformation],
    *,
    seed: int,
    batch: Batch,
    ema_players: Sequence[str] = (),
) -> TrainState:
    """A fresh state; traceable, so that it can be made sharded under `jax.jit`.

    Args:
      task: the stage.
      transforms: optimiser by player.
      seed: of the initial parameters and of every random number drawn in training.
      batch: arrays of the shapes that training feeds; their values do not matter.
      ema_players: players whose parameters and batch statistics are averaged.
    """
    init_key, run_key = split_seed(seed)
    variables = task.init(init_key, batch)
    for player, item in variables.items():
        if others := set(item) - {"params", "batch_stats", "constants"}:
            raise ValueError(f"{player} has collections that no state holds: {sorted(others)}")
    nets = {
        player: Net(
            params=item["params"],
            stats=item.get("batch_stats", {}),
            constants=item.get("constants", {}),
            opt_state=transforms[player].init(item["params"]),
        )
        for player, item in variables.items()
    }
    # A copy: a buffer that two leaves share could not be donated.
    ema = {
        player: jax.tree.map(jnp.copy, Averages(nets[player].params, nets[player].stats))
        for player in ema_players
    }
    return TrainState(step=jnp.zeros((), jnp.int32), rng=run_key, nets=nets, ema=ema)


def evaluation_variables(state: TrainState) -> dict[str, Variables]:
    """Every player's variables for evaluation: averages where the run keeps them."""
    nets = {
        player: net.replace(params=state.ema[player].params, stats=state.ema[player].stats)
        if player in state.ema
        else net
        for player, net in state.nets.items()
    }
    return {player: net.variables for player, net in nets.items()}


def leaf_names(tree: Any) -> dict[str, Any]:
    """The leaves of a state by dotted name ("nets.motion.params.Dense_0.kernel"), in tree order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {".".join(_entry(key) for key in path): leaf for path, leaf in leaves}


def _entry(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    raise TypeError(f"a state holds a node of an unknown kind: {key!r}")


def plain_leaves(state: TrainState) -> dict[str, jax.Array]:
    """A state's arrays by name; typed random keys as their data."""
    return {
        name: jax.random.key_data(leaf) if _is_key(leaf) else leaf
        for name, leaf in leaf_names(state).items()
    }


def plain_shape(leaf: Any) -> Any:
    """Shape and place of a leaf as `plain_leaves` gives it."""
    if not _is_key(leaf):
        return leaf
    data = jax.eval_shape(jax.random.key_data, jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
    return jax.ShapeDtypeStruct(data.shape, data.dtype, sharding=leaf.sharding)


def typed(leaf: jax.Array, like: Any) -> jax.Array:
    """Inverse of `plain_leaves` for one array; `like` is the leaf as the state has it."""
    return jax.random.wrap_key_data(leaf) if _is_key(like) else leaf


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
