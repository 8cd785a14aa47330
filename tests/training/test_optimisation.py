from collections import defaultdict

import pytest
import torch
from torch import nn

from sarcover.models.mixmim import MixMIMEncoder
from sarcover.training.optimisation import (
    Average,
    encoder_layer,
    learning_rate,
    parameter_groups,
    set_learning_rate,
)


def test_schedule_has_the_values_of_the_released_recipe():
    rate = learning_rate(64, total=1024, warmup=40, peak=1.0)
    assert rate == pytest.approx(0.998533, abs=1e-6)
    assert learning_rate(300, total=600, warmup=40, peak=1.0) == pytest.approx(0.555982, abs=1e-6)


def test_schedule_begins_at_zero_peaks_after_the_warm_up_and_ends_at_the_minimum():
    rates = [learning_rate(step, total=100, warmup=10, peak=2.0, minimum=0.5) for step in range(101)]
    assert rates[0] == 0
    assert rates[5] == pytest.approx(1.0)
    assert max(rates) == rates[10] == 2.0
    assert rates[55] == pytest.approx(1.25)  # half way down
    assert rates[100] == 0.5


def test_schedule_without_warm_up_begins_at_the_peak():
    assert learning_rate(0, total=10, warmup=0, peak=3.0) == 3.0


def base_like_encoder() -> MixMIMEncoder:
    """Depth and names of base, few channels."""
    return MixMIMEncoder(
        image_size=32, embed_dim=4, depths=(2, 2, 18, 2), heads=(1, 1, 1, 1), windows=(8, 8, 8, 4)
    )


def test_layer_decay_gives_the_encoder_the_released_scales():
    encoder = base_like_encoder()
    groups = parameter_groups(encoder, 0.05, layer_decay=0.7, encoder=encoder)
    scales = {group["rate_scale"] for group in groups}
    assert max(scales) == pytest.approx(0.7)
    assert min(scales) == pytest.approx(1.341069e-4, rel=1e-6)
    assert len(scales) == 25
    assert len(groups) == 50


def test_the_head_learns_at_the_full_rate():
    encoder = base_like_encoder()
    model = nn.ModuleDict({"encoder": encoder, "head": nn.Linear(4, 2)})
    groups = parameter_groups(model, 0.05, layer_decay=0.7, encoder=encoder)
    scale = {parameter: group["rate_scale"] for group in groups for parameter in group["params"]}
    assert {scale[parameter] for parameter in model["head"].parameters()} == {1.0}
    assert all(scale[p] < 1 for p in encoder.parameters() if p.requires_grad)


def test_merging_belongs_to_the_block_after_it():
    depths = (2, 2, 18, 2)
    assert encoder_layer("layers.0.downsample.reduction.weight", depths) == 3
    assert encoder_layer("layers.1.blocks.0.norm1.weight", depths) == 3
    assert encoder_layer("layers.2.downsample.norm.bias", depths) == 23
    assert (
        encoder_layer("layers.3.blocks.1.mlp.fc1.weight", depths)
        == encoder_layer("norm.weight", depths)
        == 24
    )


def test_only_matrices_are_decayed():
    encoder = base_like_encoder()
    encoder.mask_token = nn.Parameter(torch.zeros(1, 1, 4))
    names = {parameter: name for name, parameter in encoder.named_parameters()}
    kinds = defaultdict(set)
    for group in parameter_groups(encoder, 0.05):
        for parameter in group["params"]:
            kinds[group["weight_decay"]].add(names[parameter].rpartition(".")[2])
    assert kinds == {0.05: {"weight"}, 0.0: {"weight", "bias", "mask_token", "relative_position_bias_table"}}
    decayed = [p for g in parameter_groups(encoder, 0.05) if g["weight_decay"] for p in g["params"]]
    assert all(parameter.ndim > 1 for parameter in decayed)


def test_every_trainable_parameter_is_in_one_group():
    encoder = base_like_encoder()
    grouped = [
        p for g in parameter_groups(encoder, 0.05, layer_decay=0.5, encoder=encoder) for p in g["params"]
    ]
    trainable = [p for p in encoder.parameters() if p.requires_grad]
    assert len(grouped) == len(set(grouped)) == len(trainable)
    assert set(grouped) == set(trainable)


def test_each_group_gets_its_share_of_the_rate():
    parameter = nn.Parameter(torch.zeros(2))
    optimizer = torch.optim.AdamW([{"params": [parameter], "rate_scale": 0.25}], lr=0.0)
    set_learning_rate(optimizer, 0.8)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.2)


def test_running_average_is_used_inside_and_the_weights_come_back():
    model = nn.Linear(1, 1, bias=False)
    optimizer = torch.optim.AdamW(model.parameters())
    average = Average(model, optimizer, 0.9)
    expected, seen = None, []
    for done, value in enumerate((1.0, 2.0, 4.0), start=1):
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
        model.weight.data.fill_(value)
        average.update(done)
        decay = min(0.9, (1 + done) / (10 + done))
        expected = value if expected is None else decay * expected + (1 - decay) * value
        with average.used():
            seen.append(model.weight.item())
        assert model.weight.item() == value
    assert seen[0] == 1.0
    assert seen[-1] == pytest.approx(expected)


def test_statistics_of_norms_are_averaged_as_the_weights_are():
    """Whitening with the averaged statistics; whole numbers and constants stay what they are."""
    model = nn.Sequential(nn.BatchNorm1d(2))
    model.register_buffer("constant", torch.tensor([0.1, 1 / 3]))
    optimizer = torch.optim.AdamW(model.parameters())
    average = Average(model, optimizer, 0.5)
    expected = None
    for done in range(1, 4):
        model(torch.randn(8, 2, generator=torch.Generator().manual_seed(done)) + done).sum().backward()
        optimizer.step()
        average.update(done)
        decay = min(0.5, (1 + done) / (10 + done))
        raw = model[0].running_mean.clone()
        expected = raw if expected is None else decay * expected + (1 - decay) * raw
    with average.used():
        torch.testing.assert_close(model[0].running_mean, expected)
        assert not torch.equal(model[0].running_mean, raw)
        assert torch.equal(model.constant, torch.tensor([0.1, 1 / 3]))
        assert model[0].num_batches_tracked == 3
    assert torch.equal(model[0].running_mean, raw)


def test_without_a_decay_nothing_is_averaged():
    model = nn.BatchNorm1d(2)
    average = Average(model, torch.optim.AdamW(model.parameters()), 0.0)
    average.update(1)
    with average.used():
        assert torch.equal(model.running_mean, torch.zeros(2))
    assert not average.buffers
