"""The authors' checkpoints: read without running anything, adapted, and every key accounted for."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sarcover import checkpoint_import
from sarcover.bundle import load_encoder
from sarcover.checkpoint_import import import_checkpoint
from sarcover.config import ImportCheckpointSettings
from sarcover.errors import SarcoverError
from sarcover.models.encoder import sincos_table
from sarcover.models.mixmim import MixMIMEncoder, SarWMixMAE, encoder_settings, published_names

LISTING = Path(__file__).resolve().parents[1] / ".." / "shared" / "vectors" / "mixmim_base256_in1_keys.json"
SHAPE = {"embed_dim": 16, "depths": (1, 1, 2, 1), "heads": (1, 2, 4, 8), "windows": (8, 8, 8, 4)}


def published(image_size: int = 128, bands: int = 2, **shape: Any) -> dict[str, Tensor]:
    """A model's weights as the authors' code would save them, index tables included."""
    torch.manual_seed(3)
    model = SarWMixMAE(
        image_size, bands, **{**SHAPE, **shape}, decoder_dim=32, decoder_depth=1, decoder_heads=2
    )
    state = {name: parameter.detach().clone() for name, parameter in published_names(model).items()}
    for key, table in list(state.items()):
        if key.endswith("relative_position_bias_table"):
            tokens = ((math.isqrt(len(table)) + 1) // 2) ** 2
            state[key.replace("bias_table", "index")] = torch.zeros(tokens, tokens, dtype=torch.int64)
    return state


def save(path: Path, state: dict[str, Tensor]) -> Path:
    """As the released files: {model, optimizer, epoch, scaler, args}."""
    checkpoint = {
        "model": state,
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3}]},
        "epoch": 64,
        "scaler": {"scale": 65536.0},
        "args": argparse.Namespace(batch_size=256, input_size=128, output_dir="out"),
    }
    torch.save(checkpoint, path)
    return path


def run(file: Path, **settings: Any) -> dict[str, Any]:
    return import_checkpoint(
        ImportCheckpointSettings(file=str(file), out=str(file.parent / "bundle"), **settings)
    )


def test_every_key_is_taken_made_anew_or_dropped(tmp_path: Path) -> None:
    state = published()
    result = run(save(tmp_path / "c.pth", state), bands=("VH", "VV"))
    every = result["taken"] + result["regenerated"] + result["dropped"]
    assert sorted(every) == sorted([*state, "optimizer", "epoch", "scaler", "args"])
    assert result["regenerated"] == ["absolute_pos_embed"]
    assert all(
        "relative_position_index" in key or key.startswith(("decoder", "mask_token"))
        for key in result["dropped"]
        if key in state
    )
    assert result["sha256"] == hashlib.sha256((tmp_path / "c.pth").read_bytes()).hexdigest()
    assert result["known_as"] is None


def test_the_imported_encoder_computes_what_the_published_one_did(tmp_path: Path) -> None:
    state = published()
    run(
        save(tmp_path / "c.pth", state),
        bands=("VH", "VV"),
        image_size=256,
        mean=(-19.0, -12.0),
        std=(5.0, 4.0),
    )
    encoder, bundle = load_encoder(tmp_path / "bundle")
    original = MixMIMEncoder(128, 2, **SHAPE)  # type: ignore[arg-type]
    original.load_state_dict({key: state[key] for key in original.state_dict()})
    x = torch.randn(1, 2, 128, 128)
    with torch.no_grad():
        torch.testing.assert_close(encoder(x), original(x))
    assert encoder.absolute_pos_embed.shape == (1, 64 * 64, 16)
    assert torch.equal(encoder.absolute_pos_embed[0], torch.from_numpy(sincos_table(64, 64, 16)))
    assert (bundle.kind, bundle.bands, bundle.unit, bundle.patch) == ("encoder", ("VH", "VV"), "db", 256)
    assert bundle.normalisation["sar"] == {"mean": [-19.0, -12.0], "std": [5.0, 4.0]}
    assert bundle.training["epoch"] == 64


@pytest.mark.parametrize("adapt", ["mean", "sum"])
def test_two_bands_become_one(tmp_path: Path, adapt: Any) -> None:
    state = published()
    result = run(save(tmp_path / "c.pth", state), bands=("HH",), adapt=adapt, mean=(-10.4,), std=(5.8,))
    weight = load_encoder(tmp_path / "bundle")[0].patch_embed.proj.weight
    old = state["patch_embed.proj.weight"]
    wanted = old.mean(1, keepdim=True) if adapt == "mean" else old.sum(1, keepdim=True)
    torch.testing.assert_close(weight.detach(), wanted)
    assert result["adapted"] == f"{adapt} over 2 bands"


def test_more_bands_share_the_old_response(tmp_path: Path) -> None:
    state = published(bands=1)
    run(save(tmp_path / "c.pth", state), bands=("HH", "HV", "VV"))
    weight = load_encoder(tmp_path / "bundle")[0].patch_embed.proj.weight
    torch.testing.assert_close(weight.detach().sum(1, keepdim=True), state["patch_embed.proj.weight"])


def test_shape_and_size_are_recognised(tmp_path: Path) -> None:
    tiny = run(save(tmp_path / "tiny.pth", published(bands=1, **encoder_settings("tiny"))))
    assert tiny["size"] == "tiny"
    assert tiny["bands"] == ["band1"]
    other = run(
        save(tmp_path / "other.pth", published(64, 1, windows=(4, 4, 2, 2))), overwrite=True, image_size=64
    )
    assert other["size"] is None
    found = {key: other["settings"][key] for key in SHAPE}
    assert found == {**SHAPE, "windows": (4, 4, 2, 2)}


def test_a_released_file_is_known_by_its_checksum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = save(tmp_path / "c.pth", published())
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    v2 = "13ab3855a2faee9dc1ca0fb50ba483cc4e0d735b9fc8d1f03e75764c356d0b93"
    monkeypatch.setitem(checkpoint_import._KNOWN, digest, checkpoint_import._KNOWN[v2])
    result = run(file, sha256=digest.upper())
    assert result["known_as"] == "SAR-W-MixMAE, BigEarthNet v2, pretrained for 64 epochs"
    assert result["bands"] == ["VH", "VV"]
    norm = load_encoder(tmp_path / "bundle")[1].normalisation["sar"]
    assert norm["mean"] == pytest.approx([-19.1966, -12.5144], rel=1e-6)
    assert norm["std"] == pytest.approx([5.4501, 5.0019], rel=1e-6)


def test_another_checksum_than_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SarcoverError, match=f"expected SHA-256 {'0' * 64}; got [0-9a-f]{{64}}"):
        run(save(tmp_path / "c.pth", published()), sha256="0" * 64)
    assert not (tmp_path / "bundle").exists()


class _Malice:
    """Creates a file when it is unpickled."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[Any, ...]:
        return (open, (str(self.victim), "w"))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_checkpoint_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    victim, file = tmp_path / "victim", tmp_path / "c.pth"
    content = {"model": published(), "args": _Malice(victim)}
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    with pytest.raises(SarcoverError, match=r"objects that could run code.*got \S+open"):
        run(file)
    assert not victim.exists()
    assert not (tmp_path / "bundle").exists()


def test_a_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "c.pth", published())
    file.write_bytes(file.read_bytes()[:-5000])
    with pytest.raises(SarcoverError, match=r"cannot be read as a checkpoint; got .+ cut off\?"):
        run(file)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"PK\x03\x04 nor this"])
def test_no_checkpoint_at_all_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "c.pth"
    file.write_bytes(content)
    with pytest.raises(SarcoverError, match="cannot be read as a checkpoint"):
        run(file)


@pytest.mark.parametrize("text", ["epoch,loss\n1,0.5\n", "not a checkpoint", "<html>", "{}"])
def test_a_text_file_is_called_what_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.pth"
    file.write_text(text)
    with pytest.raises(SarcoverError, match="not a PyTorch file"):
        run(file)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SarcoverError, match=r"c\.pth does not exist"):
        run(tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        ("norm.weight", r"lacks norm\.weight"),
        ("layers.2.blocks.0.attn.qkv.weight", r"lacks layers\.2\.blocks\.0\.attn\.qkv\.weight"),
        ("patch_embed.proj.weight", r"no MixMIM encoder; expected patch_embed\.proj\.weight"),
    ],
)
def test_missing_weights_are_named(tmp_path: Path, lost: str, message: str) -> None:
    state = published()
    del state[lost]
    with pytest.raises(SarcoverError, match=message):
        run(save(tmp_path / "c.pth", state))


def test_a_missing_block_is_no_shallower_model(tmp_path: Path) -> None:
    state = {key: value for key, value in published().items() if ".2.blocks.0." not in key}
    with pytest.raises(SarcoverError, match=r"no MixMIM encoder"):
        run(save(tmp_path / "c.pth", state))
    state = published(depths=(1, 1, 3, 1))
    state = {key: value for key, value in state.items() if "layers.2.blocks.1." not in key}
    with pytest.raises(SarcoverError, match=r"lacks layers\.2\.blocks\.1\."):
        run(save(tmp_path / "d.pth", state))


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = published()
    state["norm.bias"][0] = torch.nan
    with pytest.raises(SarcoverError, match=r"norm\.bias holds numbers that are not finite"):
        run(save(tmp_path / "c.pth", state))


def test_an_image_smaller_than_the_windows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SarcoverError, match=r"expected 128 px or more for windows \(8, 8, 8, 4\)"):
        run(save(tmp_path / "c.pth", published()), image_size=64)


def test_statistics_go_together_and_fit_the_bands(tmp_path: Path) -> None:
    file = save(tmp_path / "c.pth", published())
    with pytest.raises(SarcoverError, match="--mean and --std go together"):
        run(file, mean=(-19.0, -12.0))
    with pytest.raises(SarcoverError, match="expected 2 values; got 1"):
        run(file, mean=(-19.0,), std=(5.0,))


def test_an_existing_bundle_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    file = save(tmp_path / "c.pth", published())
    run(file)
    with pytest.raises(SarcoverError, match="exists already"):
        run(file)
    run(file, overwrite=True)


@pytest.mark.slow
def test_the_full_set_of_published_names(tmp_path: Path) -> None:
    if not LISTING.is_file():
        pytest.skip(f"needs the list of published names: {LISTING} is not there")
    keys = json.loads(LISTING.read_text())["keys"]
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.zeros(key["shape"], dtype=torch.int64)
        if key["dtype"] == "int64"
        else 0.02 * torch.randn(key["shape"], generator=generator)
        for name, key in keys.items()
    }
    result = run(save(tmp_path / "c.pth", state), bands=("HH",))
    assert result["size"] == "base"
    assert len(state) == 456
    assert len(result["taken"]) + 1 + len([k for k in result["dropped"] if k in state]) == 456
    assert len([key for key in result["dropped"] if key.endswith("relative_position_index")]) == 24
    encoder, _ = load_encoder(tmp_path / "bundle")
    assert torch.equal(
        encoder.layers[2].blocks[17].mlp.fc2.weight, state["layers.2.blocks.17.mlp.fc2.weight"]
    )
