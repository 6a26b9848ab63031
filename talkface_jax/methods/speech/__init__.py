"""Training of the speech feature `ctc29`, which methods hear by."""

from talkface_jax.capabilities import Declaration

DECLARATION = Declaration(
    name="speech",
    paper="a convolutional recogniser of our own, trained by CTC",
    stages={"ctc29": "talkface_jax.methods.speech.ctc29.task:Ctc29Task"},
)
