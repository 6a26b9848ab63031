"""The official IP-LAP networks, run from a checkout that the user supplies (`--torch-root`).

Nothing of that code is copied here: its own modules are loaded from the checkout, unmodified, and
called as its training and inference scripts call them. torch must be installed beside this package;
torchvision, of which only an untrained VGG-19 is needed, may be missing.
"""

import contextlib
import pathlib
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

from rival import Rival, load

MODULES = ("landmark_generator", "video_renderer", "pix2pixHD_disc")


class IpLap(Rival):
    """The three networks.

    Args:
      root: a checkout of github.com/Weizhi-Zhong/IP_LAP.
      about: see `Rival`.
    """

    def __init__(self, root: pathlib.Path, **about: Any) -> None:
        super().__init__(**about)
        torch, device, wrap = self._torch, self._device, self._wrap
        with _imports(device):
            loaded = {name: load(root / "models" / f"{name}.py") for name in MODULES}
            criteria = load(root / "loss.py")
            with contextlib.redirect_stdout(sys.stderr):
                renderer = loaded["video_renderer"].Renderer()
            generator = loaded["landmark_generator"].Landmark_generator(
                T=5, d_model=512, nlayers=4, nhead=4, dim_feedforward=1024, dropout=0.1
            )
            disc = loaded["pix2pixHD_disc"].define_D()
        self._renderer = wrap(renderer.to(device))
        self._plain_renderer = renderer
        self._generator = wrap(generator.to(device))
        self._disc = wrap(disc.to(device))
        tensors = torch.cuda.FloatTensor if device == "cuda" else torch.FloatTensor
        self._adversarial = criteria.GANLoss(tensor=tensors)

    @contextlib.contextmanager
    def _running(self) -> Iterator[None]:
        """Also what the code expects of `Tensor.cuda`."""
        with _imports(self._device), super()._running():
            yield

    def landmarks(self, batch: int) -> Callable[[], None]:
        """One forward of the landmark generator, as at inference."""
        inputs = (
            self._random(batch, 5, 1, 80, 16),
            self._random(batch, 5, 2, 74),
            self._random(batch, 15, 2, 74),
            self._random(batch, 15, 2, 57),
        )
        self._generator.eval()
        return self._timed(lambda: self._generator(*inputs), gradients=False)

    def landmark_step(self, batch: int) -> Callable[[], None]:
        """One training step of the landmark generator: L1 and velocity, Adam."""
        inputs = (
            self._random(batch, 5, 1, 80, 16),
            self._random(batch, 5, 2, 74),
            self._random(batch, 15, 2, 74),
            self._random(batch, 15, 2, 57),
        )
        target = self._random(5 * batch, 2, 57)
        network, torch = self._generator.train(), self._torch
        optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)

        def step() -> None:
            optimiser.zero_grad()
            predicted = network(*inputs)
            loss = torch.nn.functional.l1_loss(predicted, target)
            moves = torch.stack(torch.split((predicted - target).flatten(1), 5), 0)
            loss = loss + (moves[:, 1:] - moves[:, :-1]).norm(dim=-1).mean()
            loss.backward()
            optimiser.step()

        return self._timed(step, gradients=True)

    def frame(self, references: int, *, losses: bool = False) -> Callable[[], None]:
        """One frame, as the inference script makes it.

        The released forward also computes its training losses, two images through VGG-19, which
        inference then throws away: `losses` keeps that, the default leaves it out.
        """
        inputs = (
            self._random(1, 1, 3, 128, 128),
            self._random(1, 5, 3, 128, 128),
            self._random(1, references, 3, 128, 128),
            self._random(1, references, 3, 128, 128),
            self._random(1, 1, 1, 80, 16),
        )
        self._renderer.eval()

        def run() -> None:
            perceptual = self._plain_renderer.perceptual
            if losses:
                self._renderer(*inputs)
                return
            zero = self._torch.zeros(1, device=self._device)
            perceptual.forward, kept = (lambda *_, **__: zero), perceptual.forward
            try:
                self._renderer(*inputs)
            finally:
                perceptual.forward = kept

        return self._timed(run, gradients=False)

    def gan_step(self, batch: int, references: int = 3) -> Callable[[], None]:
        """One training step of renderer and discriminator with all loss terms, in the order of the
        released script."""
        faces = self._random(batch, 1, 3, 128, 128)
        inputs = (
            faces,
            self._random(batch, 5, 3, 128, 128),
            self._random(batch, references, 3, 128, 128),
            self._random(batch, references, 3, 128, 128),
            self._random(batch, 1, 1, 80, 16),
        )
        torch, renderer, disc = self._torch, self._renderer.train(), self._disc.train()
        trained = [item for item in renderer.parameters() if item.requires_grad]
        optimiser = torch.optim.Adam(trained, lr=1e-4)
        disc_optimiser = torch.optim.Adam(disc.parameters(), lr=1e-4, betas=(0.5, 0.999))

        def step() -> None:
            optimiser.zero_grad()
            disc_optimiser.zero_grad()
            image, _, warp_loss, image_loss = renderer(*inputs)
            real = faces[:, 0]
            on_fake, on_real = disc(image.detach()), disc(real)
            judged = self._adversarial(on_fake, False) + self._adversarial(on_real, True)
            fooled = disc(image)
            total = 2.5 * warp_loss.sum() + 4 * image_loss.sum()
            total = total + 0.25 * self._adversarial(fooled, True).mean()
            for ours, theirs in zip(fooled, on_real, strict=True):
                for a, b in zip(ours[:-1], theirs[:-1], strict=True):
                    total = total + 0.5 * 2.5 * torch.nn.functional.l1_loss(a, b.detach())
            total.backward()
            optimiser.step()
            (0.5 * judged.mean()).backward()
            disc_optimiser.step()

        return self._timed(step, gradients=True)


@contextlib.contextmanager
def _imports(device: str) -> Iterator[None]:
    """What the official modules need to load and to run without CUDA.

    They call `Tensor.cuda()` on small index tensors; on a CPU that must do nothing.
    """
    import torch

    before = sys.modules.get("torchvision"), torch.Tensor.cuda
    sys.modules["torchvision"] = _torchvision(torch)
    if device == "cpu":
        torch.Tensor.cuda = lambda self, *_, **__: self
    try:
        yield
    finally:
        torch.Tensor.cuda = before[1]
        if before[0] is None:
            del sys.modules["torchvision"]
        else:
            sys.modules["torchvision"] = before[0]


def _torchvision(torch: Any) -> types.ModuleType:
    """torchvision's VGG-19, untrained: its time does not depend on its weights."""
    nn = torch.nn

    def vgg19(**_: Any) -> types.SimpleNamespace:
        layers: list[Any] = []
        before = 3
        for width, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
            for _index in range(count):
                layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(inplace=True)]
                before = width
            layers.append(nn.MaxPool2d(2, 2))
        return types.SimpleNamespace(features=nn.Sequential(*layers))

    module = types.ModuleType("torchvision")
    module.models = types.SimpleNamespace(vgg19=vgg19)
    return module
