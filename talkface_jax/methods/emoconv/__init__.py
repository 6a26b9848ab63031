"""Public latent-keypoint generators (face-vid2vid, LivePortrait) for emotional conversation."""

from talkface_jax.capabilities import Declaration

DECLARATION = Declaration(
    name="emoconv",
    paper="Liang & Lu, Emotional Conversation, arXiv 2406.07895, 2024",
    stages={"generator": "talkface_jax.methods.emoconv.generator.task:GeneratorTask"},
    networks="talkface_jax.methods.emoconv.torch_map:NETWORKS",
    parity={
        "facevid2vid": "talkface_jax.methods.emoconv.parity_facevid2vid:CHECKS",
        "liveportrait": "talkface_jax.methods.emoconv.parity_liveportrait:CHECKS",
    },
)
