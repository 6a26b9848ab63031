"""Making the training state, and reading variables out of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from talkface_jax.task import Batch, Net, Task, TrainState, Variables


def split_seed(seed: int) -> tuple[jax.Array, jax.Array]:
    """The key that draws the initial parameters and the key of the run (`TrainState.rng`)."""
    init_key, run_key = jax.random.split(jax.random.key(seed))
    return init_key, run_key


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
      ema_players: players whose parameters are averaged.
    """
    init_key, run_key = split_seed(seed)
    variables = task.init(init_key, batch)
    nets = {
        player: Net(
            params=item["params"],
            stats=item.get("batch_stats", {}),
            opt_state=transforms[player].init(item["params"]),
        )
        for player, item in variables.items()
    }
    # A copy: a buffer that two leaves share could not be donated.
    ema = {player: jax.tree.map(jnp.copy, nets[player].params) for player in ema_players}
    return TrainState(step=jnp.zeros((), jnp.int32), rng=run_key, nets=nets, ema=ema)


def evaluation_variables(state: TrainState) -> dict[str, Variables]:
    """Every player's variables for evaluation: averaged parameters where the run keeps them."""
    return {
        player: {**net.variables, "params": state.ema.get(player, net.params)}
        for player, net in state.nets.items()
    }


def leaf_names(tree: Any) -> dict[str, Any]:
    """The leaves of a state by dotted name ("nets.motion.params.Dense_0.kernel"), in tree order."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {".".join(_entry(key) for key in path): leaf for path, leaf in leaves}


def _entry(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    raise TypeError(f"a state holds a node of an unknown kind: {key!r}")
