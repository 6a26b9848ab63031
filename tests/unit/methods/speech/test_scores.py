"""Error rates by voice, of a recogniser that is always right where the sound is clean."""

import dataclasses

import numpy as np
import pytest

from talkface_jax.data.dataset import open_dataset
from talkface_jax.data.manifest import Manifest, shard_entry, write_manifest
from talkface_jax.data.schema import encode, record_meta
from talkface_jax.data.store import ShardWriter
from talkface_jax.features import alphabet
from talkface_jax.methods.speech import scores
from talkface_jax.methods.speech.ctc29.config import SoundConfig


def test_scores_are_by_voice(tmp_path, spoken):
    path = tmp_path / "test.tfrecord"
    with ShardWriter(path) as writer:
        for voice in ("b", "a", "b"):
            info = dataclasses.replace(spoken.info, speaker=voice, split="test")
            segment = dataclasses.replace(spoken, info=info)
            writer.write(encode(segment), record_meta(segment))
    write_manifest(tmp_path, Manifest("fake", (shard_entry(path, "test"),), 3))
    logits = np.full((250, 29), -5.0, np.float32)
    logits[:, alphabet.BLANK] = 0
    for place, number in enumerate(alphabet.encode(spoken.info.text)):
        logits[5 * place, number] = 5
    clean = spoken.audio.astype(np.float32) / 32768

    def recognise(samples):
        return logits if np.array_equal(samples, clean) else logits[:20]

    rows = scores.score_voices(recognise, open_dataset(tmp_path, "test"), SoundConfig(gain=6.0))
    assert [(row.voice, row.clips, row.characters) for row in rows] == [
        ("a", 1, 16),
        ("b", 2, 32),
        ("all", 3, 48),
    ]
    assert rows[-1].clean == 0
    assert rows[-1].noisy == pytest.approx(12 / 16)
