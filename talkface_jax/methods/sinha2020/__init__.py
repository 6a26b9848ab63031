"""Sinha, Biswas, Bhowmick, IJCNN 2020: speech to person-independent landmarks, blinks from noise,
and an attention texture."""

from talkface_jax.capabilities import (
    BLINK,
    BLINK_DURATION,
    BLINK_GOALS,
    SEED,
    Aspect,
    Declaration,
    motion_goals,
    video_goals,
)

DECLARATION = Declaration(
    name="sinha2020",
    paper="Sinha, Biswas, Bhowmick, Identity-Preserving Realistic Talking Face Generation, "
    "IJCNN 2020",
    stages={
        "motion": "talkface_jax.methods.sinha2020.motion.task:MotionTask",
        "blink": "talkface_jax.methods.stages.blink.task:BlinkTask",
        "render": "talkface_jax.methods.sinha2020.render.task:RenderTask",
    },
    chain="talkface_jax.methods.sinha2020.chain:METHOD",
    generates=(Aspect.MOUTH, Aspect.BLINKS),
    controls=(BLINK, BLINK_DURATION, SEED),
    goals=(*motion_goals(static=0.70, shifted=0.75), *video_goals(), *BLINK_GOALS),
)
