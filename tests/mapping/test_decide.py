"""What a map's class is: that of the highest logit, as torch's own maximum says."""

import pytest
import torch

from sarcover.mapping.product import decide


@pytest.mark.parametrize("classes", [2, 9, 255])
def test_the_class_is_the_first_of_the_highest(classes):
    logits = torch.randint(-3, 4, (classes, 31, 17)).float()  # with many ties
    logits[:, 3, 4] = -torch.inf
    found = decide(logits)
    assert torch.equal(found.index, logits.argmax(0).to(torch.uint8))
    assert not found.finite[3, 4]
    assert found.finite.sum() == 31 * 17 - 1


def test_a_number_that_is_none_is_noticed_in_any_class():
    for number in range(3):
        logits = torch.zeros(3, 2, 2)
        logits[number, 1, 0] = torch.nan
        assert decide(logits).finite.tolist() == [[True, True], [False, True]]
