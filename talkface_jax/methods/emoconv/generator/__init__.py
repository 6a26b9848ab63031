"""The latent-keypoint generator: one picture, moved by 3-D keypoints."""
