"""Configs of the three stages."""

from talkface_jax.methods.sinha2020.config.blink import BlinkConfig
from talkface_jax.methods.sinha2020.config.motion import MotionConfig
from talkface_jax.methods.sinha2020.config.render import RenderConfig

__all__ = ["BlinkConfig", "MotionConfig", "RenderConfig"]
