"""Generators that move a face by latent 3-D keypoints (face-vid2vid, LivePortrait)."""
