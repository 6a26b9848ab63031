"""A synthetic talking-head data set: a rigged head speaks packaged text-to-speech.

The road of one clip: `sentences` -> `speech` (sound and phoneme timings) -> `visemes` and
`performance` (weights of the 52 ARKit shapes, gaze, blinks, head motion) -> `identity`, `paint` and
`scene` (who, light, camera) -> `renderer` and `raster` (frames) -> `dataset` (MEAD's directory
layout plus the ground truth).
"""
