"""Sinha, Biswas, Yadav, Bhowmick, IJCAI 2022: speech and emotion to a landmark graph, a texture
that is guided by optical flow, and adaptation with one picture."""

from talkface_jax.capabilities import (
    BLINK,
    BLINK_DURATION,
    BLINK_GOALS,
    EMOTION,
    EMOTION_GOALS,
    EMOTION_TRACK,
    FACE_EMOTION,
    LEVEL,
    SEED,
    Aspect,
    Declaration,
    motion_goals,
    video_goals,
)

DECLARATION = Declaration(
    name="sinha2022",
    paper="Sinha, Biswas, Yadav, Bhowmick, Emotion-Controllable Generalized Talking Face "
    "Generation, IJCAI 2022",
    stages={
        "motion": "talkface_jax.methods.sinha2022.motion.task:MotionTask",
        "blink": "talkface_jax.methods.stages.blink.task:BlinkTask",
        "render": "talkface_jax.methods.sinha2022.render.task:RenderTask",
    },
    chain="talkface_jax.methods.sinha2022.chain:METHOD",
    generates=(Aspect.MOUTH, Aspect.BLINKS, Aspect.EMOTION),
    controls=(EMOTION, LEVEL, EMOTION_TRACK, FACE_EMOTION, BLINK, BLINK_DURATION, SEED),
    finetuning="talkface_jax.methods.sinha2022.finetune:FINETUNING",
    goals=(
        *motion_goals(static=0.75, shifted=0.80, silence=0.75),
        *video_goals(),
        *BLINK_GOALS,
        *EMOTION_GOALS,
    ),
)
