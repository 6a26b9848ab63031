"""What of a generator's config must fit together."""

from talkface_jax.errors import ConfigError
from talkface_jax.methods.emoconv.generator.config import GeneratorConfig
from talkface_jax.methods.emoconv.generators import FaceVid2VidConfig
from talkface_jax.methods.stages.portrait.losses import check_losses
from talkface_jax.models.render.latent_keypoints.tracked import SCHEME

QUARTER = 4
"""By how much the decoder's blocks make its feature map larger."""
_DETECTED = ("equivariance_weight", "keypoint_weight", "head_pose_weight", "expression_weight")


def check(config: GeneratorConfig) -> None:
    """Looks whether the fields fit each other.

    Raises:
      ConfigError: they do not.
    """
    if config.family != "facevid2vid":
        raise ConfigError(
            f"config.task: family is {config.family!r}, whose networks are taken as released "
            "(talkface convert) and not trained; set it to 'facevid2vid'"
        )
    check_networks(config)
    _check_keypoint_losses(config)
    check_losses(config, size=config.size, field="size")


def check_networks(config: GeneratorConfig) -> None:
    """Looks whether the networks of face-vid2vid fit each other and the pictures.

    Raises:
      ConfigError: they do not.
    """
    sizes = config.facevid2vid
    motion, decoder = sizes.generator.warping.motion, sizes.generator.decoder
    counts = {"generator.warping.motion": motion.keypoints}
    wanted = motion.keypoints
    if config.keypoints == "tracked":
        wanted = len(SCHEME)
    else:
        counts |= {"detector": sizes.detector.keypoints, "pose": sizes.pose.keypoints}
    for place, count in counts.items():
        if count != wanted:
            raise ConfigError(
                f"config.task.facevid2vid.{place}: keypoints is {count}, but {config.keypoints} "
                f"keypoints are {wanted} here; set it to that"
            )
    if strangers := [item for item in motion.masked if not 0 <= item < motion.keypoints]:
        raise ConfigError(
            f"config.task.facevid2vid.generator.warping.motion: masked names {strangers}, but "
            f"keypoints are 0 to {motion.keypoints - 1}; take them out"
        )
    if config.keypoints == "detected" and (motion.base, decoder.paint) != ("nothing", "absolute"):
        raise ConfigError(
            "config.task.facevid2vid.generator: warping.motion.base 'tracked' and decoder.paint "
            "'correction' need to know where on a face keypoints lie; set keypoints to 'tracked'"
        )
    if (motion.base == "tracked") != (decoder.paint == "correction"):
        raise ConfigError(
            "config.task.facevid2vid.generator: decoder.paint 'correction' goes with "
            "warping.motion.base 'tracked', and neither without the other; set both or none"
        )
    _check_size(config.size, sizes, detected=config.keypoints == "detected")


def _check_size(size: int, sizes: FaceVid2VidConfig, *, detected: bool) -> None:
    generator = sizes.generator
    halvings, unfold = generator.appearance.halvings, generator.decoder.unfold
    if 2**halvings != QUARTER * unfold:
        raise ConfigError(
            f"config.task.facevid2vid.generator: appearance.halvings {halvings} and decoder.unfold "
            f"{unfold} do not give a picture of the size of the source; set them to 2 and 1, or to "
            "3 and 2"
        )
    steps = {"generator.warping.motion": 2 ** (halvings + generator.warping.motion.levels)}
    if detected:
        steps["detector"] = sizes.detector.shrink * 2**sizes.detector.levels
    for place, step in steps.items():
        if size % step:
            raise ConfigError(
                f"config.task: size {size} is no multiple of {step}, as the levels of "
                f"facevid2vid.{place} need; give another size or fewer levels"
            )


def _check_keypoint_losses(config: GeneratorConfig) -> None:
    if config.keypoints == "detected":
        return
    for field in _DETECTED:
        if getattr(config, field):
            raise ConfigError(
                f"config.task: {field} is {getattr(config, field):g}, but tracked keypoints "
                "are not learned; set it to 0.0"
            )
