"""IP-LAP (Zhong et al., CVPR 2023): landmarks from speech and pose, and a renderer that warps
reference frames."""

from talkface_jax.capabilities import (
    REFERENCES,
    Aspect,
    Declaration,
    motion_goals,
    video_goals,
)

DECLARATION = Declaration(
    name="iplap",
    paper="Zhong et al., Identity-Preserving Talking Face Generation, CVPR 2023",
    stages={
        "motion": "talkface_jax.methods.iplap.motion.task:MotionTask",
        "render": "talkface_jax.methods.iplap.render.task:RenderTask",
    },
    chain="talkface_jax.methods.iplap.chain:METHOD",
    generates=(Aspect.MOUTH,),
    controls=(REFERENCES,),
    goals=(*motion_goals(static=0.70, shifted=0.75), *video_goals()),
    networks="talkface_jax.methods.iplap.torch_map:NETWORKS",
    parity={"iplap": "talkface_jax.methods.iplap.parity:CHECKS"},
)
