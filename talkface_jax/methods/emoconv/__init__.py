"""Public latent-keypoint generators (face-vid2vid, LivePortrait) for emotional conversation.

No stage of the method is built yet.
"""

from talkface_jax.capabilities import Declaration

DECLARATION = Declaration(
    name="emoconv",
    paper="Liang & Lu, Emotional Conversation, arXiv 2406.07895, 2024",
    stages={},
    parity={
        "facevid2vid": "talkface_jax.methods.emoconv.parity_facevid2vid:CHECKS",
        "liveportrait": "talkface_jax.methods.emoconv.parity_liveportrait:CHECKS",
    },
)
