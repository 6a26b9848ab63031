"""The face as a graph: the points of `ibug68`, and the clusters that stand for them when coarser.

Source: the landmark graph of Sinha et al., IJCAI 2022. The paper states neither edges nor clusters:
the edges here are the facial chains, closed at eyes and lips, and the mirror pairs; the clusters
run along the chains and are symmetric under the mirror. Both are unverified.
"""

import dataclasses
import itertools

import numpy as np
from jaxtyping import Int

from talkface_jax.landmarks.schemes import get_scheme

_SCHEME = get_scheme("ibug68")
_PARTS = (
    # The jaw line, from the right ear to the left.
    *(((0, 1), (2, 3)), ((4, 5), (6, 7)), ((8,),), ((9, 10), (11, 12)), ((13, 14), (15, 16))),
    # Brows.
    *(((17, 18), (19, 20, 21)), ((22, 23, 24), (25, 26))),
    # Ridge and base of the nose.
    *(((27, 28), (29, 30)), ((31, 32), (33,), (34, 35))),
    # Eyes: each the outer half of the upper lid, its inner half, and the lower lid.
    *(((36, 37), (38, 39), (40, 41)), ((42, 43), (44, 45), (46, 47))),
    # Corners of the mouth, of both outlines.
    *(((48, 59), (60,)), ((54, 55), (64,))),
    # The outer outline of the upper lip and of the lower, then the inner ones.
    *(((49, 50), (51,), (52, 53)), ((56, 57, 58),), ((61, 62, 63),), ((65, 66, 67),)),
)
"""The 17 parts, each of 1 to 3 clusters of 1 to 3 points: 34 clusters in all."""


@dataclasses.dataclass(frozen=True, eq=False)
class Level:
    """The graph at one fineness.

    Attributes:
      edges: pairs of nodes a <= b, each pair once: neighbours along the chains, mirror images, and
        every node with itself.
      mirror: of each of the n nodes its mirror image.
    """

    edges: Int[np.ndarray, "e 2"]
    mirror: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.mirror)


def _frozen(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values


def _level(links: np.ndarray, mirror: np.ndarray) -> Level:
    """The links, the mirror pairs and the loops, sorted."""
    nodes = np.arange(len(mirror))
    pairs = [links, np.stack([nodes, mirror], 1), np.stack([nodes, nodes], 1)]
    edges = np.unique(np.sort(np.concatenate(pairs), axis=1), axis=0)
    return Level(_frozen(edges), _frozen(mirror))


def _coarser(fine: Level, cluster_of: np.ndarray) -> Level:
    """Clusters are linked where any of their members are; so they inherit the mirror pairs."""
    mirror = np.zeros(cluster_of.max() + 1, np.int64)
    mirror[cluster_of] = cluster_of[fine.mirror]
    return _level(cluster_of[fine.edges], mirror)


def _members(clusters: tuple[tuple[int, ...], ...]) -> np.ndarray:
    """Of each member the number of its cluster."""
    found = np.zeros(sum(map(len, clusters)), np.int64)
    for number, members in enumerate(clusters):
        found[list(members)] = number
    return _frozen(found)


_CLUSTERS = tuple(cluster for part in _PARTS for cluster in part)
_STARTS = np.cumsum([0, *map(len, _PARTS)]).tolist()

CLUSTER_OF: tuple[Int[np.ndarray, " n"], ...] = (
    _members(_CLUSTERS),
    _members(tuple(tuple(range(a, b)) for a, b in itertools.pairwise(_STARTS))),
)
"""Of each node of a level the node of the next coarser one: 68 -> 34 and 34 -> 17."""

_FINE = _level(_SCHEME.edges, _SCHEME.flip.copy())
_MIDDLE = _coarser(_FINE, CLUSTER_OF[0])
LEVELS: tuple[Level, Level, Level] = (_FINE, _MIDDLE, _coarser(_MIDDLE, CLUSTER_OF[1]))
"""68 points, 34 clusters, 17 parts."""
