"""The cast: who they are (geometry, skin, hair, eyes, voice) and their neutral heads.

Names follow MEAD's actors: M for men, W for women, three digits. Faces that only test clips show
are marked `held_out`; which of the others only val clips show is drawn (`divide_cast`). Colours are
sRGB in [0, 1].
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float32

from data_prep.synthetic.mesh import NECK_DISTANCE, HeadModel

Colour = tuple[float, float, float]

_DETAIL_GROUPS = ("head", "nose", "mouth", "chin", "cheek", "forehead", "eyebrows", "eyes")
_DETAILS_PER_GROUP = 4
_DETAIL_STRENGTH = 0.6
_EYE_STRENGTH = 0.42


@dataclasses.dataclass(frozen=True)
class Person:
    """One member of the cast.

    Attributes:
      name: MEAD-like actor name.
      seed: draws the detail targets and the skin's pattern.
      origins: weights of MakeHuman's three macro shapes.
      sex, age, build: names of its macro targets.
      skin, lip, hair, iris: base colours.
      brow: thickness of the brows.
      hair_style: a key of `paint.HAIR_STYLES`.
      freckles, stubble: strengths in [0, 1].
      pitch: factor on the voice's fundamental frequency.
      held_out: kept for testing.
    """

    name: str
    seed: int
    origins: Mapping[str, float]
    sex: str
    age: str
    build: str
    skin: Colour
    lip: Colour
    hair: Colour
    iris: Colour
    brow: float
    hair_style: str
    freckles: float = 0.0
    stubble: float = 0.0
    pitch: float = 1.0
    held_out: bool = False


_C, _A, _S = "caucasian", "african", "asian"
_AVERAGE = "averagemuscle-averageweight"
_HEAVY = "averagemuscle-maxweight"
_THIN = "averagemuscle-minweight"
_STRONG = "maxmuscle-averageweight"

CAST: tuple[Person, ...] = (
    Person("W101", 11, {_C: 1}, "female", "young", _AVERAGE, (0.90, 0.70, 0.60), (0.76, 0.40, 0.40),
           (0.30, 0.19, 0.10), (0.30, 0.48, 0.60), 0.7, "long", freckles=0.5, pitch=1.10),
    Person("M102", 12, {_A: 1}, "male", "young", _AVERAGE, (0.47, 0.31, 0.23), (0.50, 0.25, 0.24),
           (0.05, 0.04, 0.04), (0.20, 0.11, 0.06), 1.2, "cropped", stubble=0.3, pitch=0.76),
    Person("W103", 13, {_S: 1}, "female", "young", _AVERAGE, (0.87, 0.68, 0.53), (0.74, 0.38, 0.36),
           (0.06, 0.05, 0.05), (0.18, 0.10, 0.06), 0.8, "bob", pitch=1.22),
    Person("M104", 14, {_C: 1}, "male", "young", _STRONG, (0.85, 0.64, 0.54), (0.68, 0.38, 0.36),
           (0.14, 0.09, 0.06), (0.28, 0.38, 0.24), 1.2, "short", stubble=0.7, pitch=0.80),
    Person("W105", 15, {_A: 0.7, _C: 0.3}, "female", "young", _AVERAGE, (0.60, 0.42, 0.31),
           (0.60, 0.28, 0.28), (0.08, 0.06, 0.05), (0.24, 0.15, 0.09), 0.8, "volume", pitch=1.02),
    Person("M106", 16, {_S: 1}, "male", "old", _AVERAGE, (0.80, 0.62, 0.48), (0.64, 0.38, 0.35),
           (0.45, 0.45, 0.45), (0.20, 0.12, 0.07), 1.1, "receding", pitch=0.74),
    Person("W107", 17, {_C: 1}, "female", "old", _HEAVY, (0.88, 0.70, 0.62), (0.70, 0.40, 0.40),
           (0.60, 0.58, 0.55), (0.35, 0.45, 0.50), 0.6, "bob", freckles=0.3, pitch=0.95),
    Person("M108", 54, {_S: 0.5, _C: 0.5}, "male", "young", _THIN, (0.84, 0.66, 0.53),
           (0.66, 0.38, 0.36), (0.10, 0.07, 0.05), (0.22, 0.14, 0.08), 1.0, "short", pitch=0.88),
    Person("M109", 83, {_C: 0.5, _A: 0.5}, "male", "young", _HEAVY, (0.68, 0.48, 0.37),
           (0.58, 0.31, 0.29), (0.07, 0.05, 0.04), (0.22, 0.16, 0.10), 1.1, "cropped", stubble=0.5,
           pitch=0.72),
    Person("W110", 20, {_S: 0.6, _A: 0.4}, "female", "young", _AVERAGE, (0.72, 0.52, 0.40),
           (0.66, 0.32, 0.32), (0.12, 0.08, 0.06), (0.20, 0.12, 0.07), 0.7, "long", pitch=1.16),
    Person("W111", 21, {_C: 0.7, _S: 0.3}, "female", "young", _THIN, (0.93, 0.76, 0.68),
           (0.80, 0.44, 0.42), (0.46, 0.20, 0.09), (0.26, 0.44, 0.30), 0.7, "bob", freckles=0.9,
           pitch=1.28),
    Person("M112", 22, {_C: 0.9, _A: 0.1}, "male", "old", _STRONG, (0.80, 0.58, 0.47),
           (0.62, 0.36, 0.33), (0.70, 0.68, 0.64), (0.38, 0.50, 0.62), 1.0, "receding", stubble=0.4,
           pitch=0.70),
    Person("W113", 23, {_A: 1}, "female", "young", _AVERAGE, (0.43, 0.29, 0.21), (0.52, 0.24, 0.25),
           (0.05, 0.04, 0.04), (0.18, 0.10, 0.06), 0.9, "volume", pitch=1.08),
    Person("M114", 24, {_C: 0.8, _S: 0.2}, "male", "young", _HEAVY, (0.89, 0.69, 0.60),
           (0.72, 0.41, 0.39), (0.50, 0.30, 0.14), (0.34, 0.46, 0.56), 1.0, "short", freckles=0.4,
           stubble=0.3, pitch=0.86),
    Person("W131", 31, {_C: 0.8, _S: 0.2}, "female", "young", _AVERAGE, (0.86, 0.66, 0.57),
           (0.78, 0.36, 0.38), (0.42, 0.28, 0.14), (0.32, 0.42, 0.30), 0.7, "long", freckles=0.2,
           pitch=1.06, held_out=True),
    Person("M132", 32, {_A: 1}, "male", "young", _STRONG, (0.40, 0.26, 0.20), (0.45, 0.23, 0.22),
           (0.04, 0.03, 0.03), (0.16, 0.09, 0.05), 1.1, "cropped", stubble=0.4, pitch=0.78,
           held_out=True),
    Person("M133", 33, {_S: 0.8, _C: 0.2}, "male", "young", _AVERAGE, (0.86, 0.68, 0.54),
           (0.68, 0.40, 0.37), (0.05, 0.04, 0.04), (0.17, 0.10, 0.06), 1.0, "short", pitch=0.84,
           held_out=True),
    Person("W134", 34, {_C: 0.6, _A: 0.4}, "female", "young", _AVERAGE, (0.66, 0.47, 0.36),
           (0.68, 0.31, 0.31), (0.10, 0.07, 0.05), (0.20, 0.13, 0.08), 0.8, "volume", pitch=1.14,
           held_out=True),
)  # fmt: skip
_UNDERSTUDIES = {p.sex: p for p in CAST if p.name in ("W113", "M114")}
"""By sex, who takes the place in training of those who are drawn for val."""


@dataclasses.dataclass(frozen=True)
class Division:
    """Who may be seen where: people of the training, val and test clips; nobody is in two."""

    train: tuple[Person, ...]
    val: tuple[Person, ...]
    test: tuple[Person, ...]


def divide_cast(seed: int) -> Division:
    """Who is in the training, the val and the test clips of the set of this seed.

    A woman and a man of different origins are drawn for val. `_UNDERSTUDIES` take their turns in
    the training clips, so that those of everybody else are the same whoever was drawn.
    """
    rng = np.random.default_rng([seed, 2])
    val: list[Person] = []
    turns = [p for p in CAST if not p.held_out and p not in _UNDERSTUDIES.values()]
    for sex, understudy in _UNDERSTUDIES.items():
        met = [_main_origin(person) for person in val]
        candidates = [
            p for p in (*turns, understudy) if p.sex == sex and _main_origin(p) not in met
        ]
        val.append(candidates[rng.integers(len(candidates))])
        turns = [understudy if person is val[-1] else person for person in turns]
    return Division(tuple(turns), tuple(val), held_out_cast())


def _main_origin(person: Person) -> str:
    return max(person.origins, key=lambda name: person.origins[name])


def held_out_cast() -> tuple[Person, ...]:
    """The people of the test clips."""
    return tuple(person for person in CAST if person.held_out)


def _details(person: Person, head: HeadModel) -> dict[str, float]:
    rng = np.random.default_rng(person.seed)
    weights: dict[str, float] = {}
    for group in _DETAIL_GROUPS:
        names = [name for name in head.targets.names if name.startswith(group + "/")]
        strength = _EYE_STRENGTH if group == "eyes" else _DETAIL_STRENGTH
        for index in rng.permutation(len(names))[:_DETAILS_PER_GROUP]:
            weights[names[index]] = float(rng.uniform(0, strength))
    return weights


def neutral_head(person: Person, head: HeadModel) -> Float32[np.ndarray, "n 3"]:
    """The person's face at rest, in head units: eye midpoint at the origin, neck joint 1.4 away."""
    weights = {f"macro/{o}-{person.sex}-{person.age}": w for o, w in person.origins.items()}
    weights[f"macro/universal-{person.sex}-{person.age}-{person.build}"] = 1.0
    points = head.targets.add(head.base, weights | _details(person, head))
    centre = (points[head.left_eye].mean(0) + points[head.right_eye].mean(0)) / 2
    scale = NECK_DISTANCE / np.linalg.norm(centre - points[head.joint_neck].mean(0))
    return ((points - centre) * scale).astype(np.float32)
