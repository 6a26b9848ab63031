"""Run by a Python that has TensorFlow and nothing of ours: reads a directory through TFDS.

Writes every record of every split, flattened, into one npz file: `<split>/<number>/<feature>`, and
as `<split>/<number>/jpeg` the SHA-256 of its frames' undecoded bytes.
"""

import hashlib
import pathlib
import sys

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds


def flatten(prefix, value):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from flatten(f"{prefix}/{name}", inner)
    else:
        yield prefix, np.asarray(value)


def main(directory: str, out: str) -> None:
    builder = tfds.builder_from_directory(directory)
    values = {"versions": np.array([tf.__version__, tfds.__version__, builder.info.full_name])}
    for split in builder.info.splits:
        examples = tfds.as_numpy(builder.as_dataset(split=split))
        for number, example in enumerate(examples):
            values |= flatten(f"{split}/{number}", example)
        raw = builder.as_dataset(split=split, decoders={"frames": tfds.decode.SkipDecoding()})
        for number, example in enumerate(tfds.as_numpy(raw)):
            digest = hashlib.sha256(b"".join(example["frames"])).hexdigest()
            values[f"{split}/{number}/jpeg"] = np.array(digest)
    np.savez(pathlib.Path(out), **values)


if __name__ == "__main__":
    main(*sys.argv[1:])
