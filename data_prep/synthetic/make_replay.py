"""Makes `talkface_jax/assets/replay_faces.safetensors`; run by maintainers, never at run time.

    talkface prepare --dataset=synthetic --clips=80 --test-clips=32 --seed=0 --workers=2 \\
      --max-failures=4 --out=out/demo/data
    python -m data_prep.synthetic.make_replay --data=out/demo/data \\
      --out=talkface_jax/assets/replay_faces.safetensors

The faces are those of the demo's training people, whom its networks know anyway; nobody of its val
and test splits is among them. They are made up, and CC0 as what they are made of
(`assets/LICENSE-CC0.md`).
"""

import argparse
import logging
import pathlib

from talkface_jax.data import replay
from talkface_jax.data.pipeline import open_dataset

LICENCE = "CC0-1.0: rendered from MakeHuman's CC0 head; these people do not exist"
logger = logging.getLogger(__name__)


def main() -> None:
    """Reads the training split, writes the file."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="a prepared synthetic set")
    parser.add_argument("--out", required=True, type=pathlib.Path)
    parser.add_argument("--count", type=int, default=replay.COUNT)
    args = parser.parse_args()
    faces = replay.choose(open_dataset(args.data, "train"), count=args.count)
    data = replay.pack(faces, licence=LICENCE)
    args.out.write_bytes(data)
    people = len({pair.info.speaker for pair in faces})
    count = sum(map(len, faces))
    logger.info("%s: %d faces of %d people, %d bytes", args.out, count, people, len(data))


if __name__ == "__main__":
    main()
