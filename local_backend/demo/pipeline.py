"""The demo model as a pipeline: called, stepped and cancelled like the pipelines of diffusers."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from local_backend.demo.network import DemoTransformer, Refiner, TextEncoder
from local_backend.demo.render import FRAMES, SIDE
from local_backend.demo.sampling import guided, schedule, step
from local_backend.demo.world import padded, read

WEIGHTS: Final = Path(__file__).with_name("weights")
STEPS: Final = 12
GUIDANCE: Final = 3.0
_PARTS: Final = ("text_encoder", "transformer", "refiner")


@dataclass(frozen=True, slots=True)
class Output:
    """`frames` of shape (clips, 16, side, side, 3), 0..1."""

    frames: NDArray[np.float32]


class Unseen:
    """A progress bar that nobody sees."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def update(self) -> None:
        """A step is done."""


class DemoPipeline:
    """Text, image or video to a clip of 16 frames. An image fixes the first frame, a last image the last one."""

    def __init__(self, text_encoder: Any, transformer: Any, refiner: Any = None) -> None:
        """Without a refiner, as in training, clips stay 32 pixels wide."""
        self.text_encoder, self.transformer, self.refiner = text_encoder, transformer, refiner

    @classmethod
    def from_pretrained(cls, folder: Path = WEIGHTS) -> Self:
        """The weights of a folder, in float32: CPUs are slower in less, for one clip (measured)."""
        kinds = (TextEncoder, DemoTransformer, Refiner)
        return cls(*(_loaded(kind, folder / name) for kind, name in zip(kinds, _PARTS, strict=True)))

    def save_pretrained(self, folder: Path) -> None:
        """Write the weights as float16 safetensors; they stay float32 here."""
        for name, part in self.components.items():
            copy = type(part).from_config(part.config)
            copy.load_state_dict(part.state_dict())
            copy.half().save_pretrained(folder / name, safe_serialization=True)

    def to(self, device: str) -> Self:
        """Move the weights."""
        for part in (self.text_encoder, self.transformer, self.refiner):
            part.to(device)
        return self

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        num_inference_steps: int = STEPS,
        guidance_scale: float = GUIDANCE,
        image: Image.Image | None = None,
        last_image: Image.Image | None = None,
        video: Sequence[Image.Image] | None = None,
        strength: float = 1.0,
        output_type: Literal["np"] = "np",  # noqa: ARG002  (as every pipeline is called)
    ) -> Output:
        """Make the clips. `strength`, 0..1, is how much of a video is made anew."""
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        text = self._text(prompts)
        pure = self._noise(len(prompts), generator)
        levels = schedule(num_inference_steps).tolist()
        clip = pure
        if video is not None:
            levels = levels[num_inference_steps - max(1, int(num_inference_steps * strength)) :]
            clip = (1 - levels[0]) * self._clip(video) + levels[0] * pure
        known = self._known(image, last_image)
        with self.progress_bar(total=len(levels) - 1) as bar:
            for now, following in pairwise(levels):
                for place, frame in known:
                    clip[:, :, place] = (1 - now) * frame + now * pure[:, :, place]
                noise = torch.full((len(prompts),), now, device=clip.device)
                clean = guided(self.transformer, clip, noise, text, guidance_scale)
                clip = step(clean, clip, now, following)
                bar.update()
        for place, frame in known:
            clip[:, :, place] = frame
        clip = clip.clamp(-1, 1)
        if self.refiner is not None:
            clip = self.refiner(clip, text[1][: len(prompts)])
        frames = ((clip.clamp(-1, 1) + 1) / 2).permute(0, 2, 3, 4, 1)
        return Output(frames.float().cpu().numpy())

    def progress_bar(self, total: int) -> Any:  # noqa: ARG002  (as every pipeline's is called)
        """Draws nothing; a caller may put its own in place."""
        return Unseen()

    @property
    def components(self) -> dict[str, Any]:
        """Its networks by name."""
        return {name: getattr(self, name) for name in _PARTS}

    @property
    def _device(self) -> torch.device:
        return next(self.transformer.parameters()).device

    def _text(self, prompts: list[str]) -> tuple[Tensor, ...]:
        """What the text encoder makes of the prompts and, after them, of as many empty ones."""
        tokens = [padded(read(each)) for each in prompts] + [padded(())] * len(prompts)
        found: tuple[Tensor, ...] = self.text_encoder(torch.tensor(tokens, device=self._device))
        return found

    def _noise(self, count: int, generator: torch.Generator | Sequence[torch.Generator] | None) -> Tensor:
        """Each clip from its own generator, on the CPU: the same seed is the same noise on every device."""
        shape = (3, FRAMES, SIDE, SIDE)
        if generator is None or isinstance(generator, torch.Generator):
            return torch.randn(count, *shape, generator=generator).to(self._device)
        return torch.stack([torch.randn(shape, generator=each) for each in generator]).to(self._device)

    def _clip(self, frames: Sequence[Image.Image]) -> Tensor:
        """As many frames as a clip has, spread evenly over those given; shape (1, 3, 16, 32, 32), -1..1."""
        places = [round(index * (len(frames) - 1) / (FRAMES - 1)) for index in range(FRAMES)]
        return torch.stack([self._frame(frames[place]) for place in places], 1)[None]

    def _frame(self, image: Image.Image) -> Tensor:
        small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BOX)
        values = torch.from_numpy(np.asarray(small, np.float32) / 127.5 - 1)
        return values.permute(2, 0, 1).to(self._device)

    def _known(self, image: Image.Image | None, last: Image.Image | None) -> list[tuple[int, Tensor]]:
        """Which frames are given, and what they show."""
        given = ((0, image), (FRAMES - 1, last))
        return [(place, self._frame(each)) for place, each in given if each is not None]


def _loaded(kind: Any, folder: Path) -> Any:
    return kind.from_pretrained(folder, use_safetensors=True, local_files_only=True).float().eval()
