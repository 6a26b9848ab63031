"""A network of a public PyTorch code base: its rules, and what its state_dicts need besides."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from talkface_jax.errors import ConfigError
from talkface_jax.interop import spectral_norm
from talkface_jax.interop.torch_rules import Rule, from_torch, ignored, to_torch


@dataclasses.dataclass(frozen=True)
class Place:
    """Where in a release a network's state_dict lies.

    The prefix that `DataParallel` gives to keys is removed wherever it is.

    Attributes:
      file: path of its file in the released folder, or "" where the release is one file.
      entry: its key in the dict that the file holds, or "" where the file holds nothing else.
    """

    file: str = ""
    entry: str = ""


@dataclasses.dataclass(frozen=True)
class TorchNetwork:
    """A network of a public PyTorch code base and its counterpart here.

    Attributes:
      stage: registry name of the stage that trains it.
      player: its name there.
      config: makes the task config of the published sizes.
      rules: the stage's task config -> rules.
      template: the stage's task config -> shapes of the variables.
      spectral: pattern of the weights, by key, that the PyTorch code normalises spectrally; its
        state_dicts hold three tensors for each, for the rules it is one (`spectral_norm`).
      place: where its state_dict lies, if it is released with others.

    Rules and template raise ConfigError where the config describes a network that the PyTorch code
    does not have.
    """

    stage: str
    player: str
    config: Callable[[], Any]
    rules: Callable[[Any], tuple[Rule, ...]]
    template: Callable[[Any], Mapping[str, Any]]
    spectral: str = ""
    place: Place = Place()

    def within(self, config: Callable[[], Any], part: Callable[[Any], Any]) -> "TorchNetwork":
        """The same network for a task config of which its own config is a part.

        Args:
          config: makes that task config, of the published sizes.
          part: the task config -> its part; may raise ConfigError.
        """
        return dataclasses.replace(
            self,
            config=config,
            rules=lambda whole: self.rules(part(whole)),
            template=lambda whole: self.template(part(whole)),
        )

    def read(
        self, tensors: Mapping[str, np.ndarray], config: Any, *, source: str = "the weight file"
    ) -> tuple[dict[str, Any], dict[str, str]]:
        """The network's variables from its state_dict, and the keys left out (`ignored`).

        Raises:
          WeightsError: see `from_torch` and `spectral_norm.fold`.
        """
        rules = self.rules(config)
        if self.spectral:
            tensors = spectral_norm.fold(tensors, source=source)
        variables = from_torch(tensors, rules, self.template(config), source=source)
        return variables, ignored(tensors, rules)

    def write(self, variables: Mapping[str, Any], config: Any) -> dict[str, np.ndarray]:
        """The network's state_dict from its variables.

        Raises:
          WeightsError: see `to_torch` and `spectral_norm.unfold`.
        """
        tensors = to_torch(variables, self.rules(config))
        if not self.spectral:
            return tensors
        pattern = re.compile(self.spectral)
        return spectral_norm.unfold(tensors, [key for key in tensors if pattern.fullmatch(key)])


def require(
    where: str, config: Any, published: Mapping[str, Any], *, code: str = "the released code"
) -> None:
    """Looks whether a config describes a network that PyTorch code has.

    Args:
      where: begins the message: what the fields belong to.
      config: with the fields.
      published: values that they must have.
      code: how the message calls it.

    Raises:
      ConfigError: it does not.
    """
    for field, value in published.items():
        found = getattr(config, field)
        if found != value:
            raise ConfigError(
                f"{where}{field} is {found!r}, which {code} does not have, so weights cannot be"
                f" carried over; set it to {value!r}"
            )
