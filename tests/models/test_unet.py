"""The yardstick: its settings, what it sees and what it does not."""

import pytest
import torch

from sarcover.errors import SarcoverError
from sarcover.models import build_model


@pytest.mark.parametrize("stem_stride", [1, 2])
@pytest.mark.parametrize("local_statistics", [True, False])
def test_settings_make_the_model_they_name(stem_stride, local_statistics):
    model = build_model(
        "unet", size="tiny", num_classes=3, stem_stride=stem_stride, local_statistics=local_statistics
    )
    logits = model({"sar": torch.randn(1, 1, 50, 33)})
    assert logits.shape == (1, 3, 50, 33)
    assert model.architecture["settings"] == {
        "local_statistics": local_statistics,
        "stem_stride": stem_stride,
    }


def test_optical_pixels_under_cloud_do_not_matter_and_others_do():
    torch.manual_seed(0)
    model = build_model("unet", size="tiny", optical_bands=4, num_classes=3).eval()
    batch = {"sar": torch.randn(1, 1, 32, 32), "optical": torch.rand(1, 4, 32, 32)}
    batch["optical_valid"] = torch.ones(1, 32, 32, dtype=torch.bool)
    batch["optical_valid"][:, :, 20:] = False
    logits = model(batch)
    clouded, changed = batch["optical"].clone(), batch["optical"].clone()
    clouded[..., 20:] = 7.0
    changed[..., :20] = 1 - changed[..., :20]
    assert torch.equal(model({**batch, "optical": clouded}), logits)
    assert not torch.allclose(model({**batch, "optical": changed}), logits)


def test_logits_do_not_depend_on_what_lies_far_away():
    """So that windows of a map agree where they overlap."""
    torch.manual_seed(0)
    model = build_model("unet", size="tiny", num_classes=3).eval()
    sar = torch.randn(1, 1, 64, 640)
    logits = model({"sar": sar})
    sar[..., 600:] = torch.nan
    changed = model({"sar": sar})
    assert torch.equal(changed[..., :200], logits[..., :200])
    assert not torch.allclose(changed[..., 560:600], logits[..., 560:600])


def test_other_strides_are_refused():
    with pytest.raises(SarcoverError, match=r"stem_stride.*expected 1 or 2; got 3"):
        build_model("unet", num_classes=2, stem_stride=3)
