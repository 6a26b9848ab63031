"""Training of the reader that says which emotion a face shows."""

from talkface_jax.capabilities import Declaration

DECLARATION = Declaration(
    name="emotion",
    paper="a small network of our own on the tracker's blendshapes",
    stages={"blendshapes": "talkface_jax.methods.emotion.blendshapes.task:EmotionTask"},
)
