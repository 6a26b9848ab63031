"""Liang & Lu 2024: a latent-keypoint generator (face-vid2vid, LivePortrait) for emotional
conversation. A video drives it; speech does not yet.
"""

from talkface_jax.capabilities import Declaration, Driven, reenactment_goals

DECLARATION = Declaration(
    name="emoconv",
    paper="Liang & Lu, Emotional Conversation, arXiv 2406.07895, 2024",
    stages={"generator": "talkface_jax.methods.emoconv.generator.task:GeneratorTask"},
    chain="talkface_jax.methods.emoconv.chain:METHOD",
    driven_by=(Driven.VIDEO,),
    goals=reenactment_goals(),
    networks="talkface_jax.methods.emoconv.torch_map:NETWORKS",
    parity={
        "facevid2vid": "talkface_jax.methods.emoconv.parity_facevid2vid:CHECKS",
        "liveportrait": "talkface_jax.methods.emoconv.parity_liveportrait:CHECKS",
    },
)
