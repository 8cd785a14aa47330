"""The transformers narrator: a tiny Phi-3 with random weights, made here, through the real path."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from explain_helpers import area

from sarcover.errors import SarcoverError
from sarcover.explain.ground import ground
from sarcover.explain.local_model import Closed, LocalModel
from sarcover.explain.narrate import TooLongError, narrate
from sarcover.explain.prompt import messages

# As Phi-3's: turns between <|role|> and <|end|>.
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + TEMPLATE
)
CHAT = [{"role": "system", "content": "You explain."}, {"role": "user", "content": "C1 covers 40 %."}]


def make(folder: Path, *, template: str | None = TEMPLATE, room: int = 8192) -> Path:
    """A Phi-3 of two layers, saved as the hub has them; its words are learnt from the prompt."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import Phi3Config, Phi3ForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([message["content"] for message in messages(area())], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=special[1:4],
    )
    fast.chat_template = template
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = Phi3Config(
        vocab_size=len(fast), hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=room,
        original_max_position_embeddings=room,
        pad_token_id=0, bos_token_id=0, eos_token_id=4,
    )  # fmt: skip
    Phi3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def phi3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("phi3"))


def load(folder: Path, **options: Any) -> LocalModel:
    return LocalModel(str(folder), **{"device": "cpu", "precision": "float32", "max_tokens": 24, **options})


def test_random_weights_talk_nonsense_and_the_explanation_holds(phi3: Path) -> None:
    pieces: list[str] = []
    model = load(phi3, max_tokens=40, on_text=pieces.append)
    narrative = narrate(area(), model)
    assert "".join(pieces)
    assert narrative.narrator == "transformers"
    grounded = ground(narrative, area(), model)
    assert {claim.kind for claim in grounded.narrative.claims} == {"what", "why", "trust", "check"}
    assert not grounded.grounding.share_supported


def test_the_same_request_has_the_same_answer_and_it_is_streamed(phi3: Path) -> None:
    pieces: list[str] = []
    model = load(phi3, on_text=pieces.append)
    first = model.write(CHAT)
    assert first == "".join(pieces)
    assert len(pieces) > 1
    assert model.write(CHAT) == first
    assert load(phi3).write(CHAT) == first


def test_the_answer_is_that_of_greedy_decoding_step_by_step(phi3: Path) -> None:
    from transformers import AutoTokenizer, Phi3ForCausalLM

    tokenizer, model = AutoTokenizer.from_pretrained(phi3), Phi3ForCausalLM.from_pretrained(phi3).eval()
    tokens = tokenizer.apply_chat_template(
        CHAT, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )["input_ids"]
    start = tokens.shape[1]
    with torch.inference_mode():
        for _ in range(12):
            best = model(tokens).logits[:, -1].argmax(-1)
            tokens = torch.cat([tokens, best[:, None]], 1)
            if int(best) == tokenizer.eos_token_id:
                break
    expected = tokenizer.decode(tokens[0, start:], skip_special_tokens=True)
    assert load(phi3, max_tokens=12).write(CHAT).strip() == expected.strip()


def test_the_weights_are_in_the_precision_that_was_asked_for(phi3: Path) -> None:
    assert next(load(phi3, precision="bf16")._model.parameters()).dtype == torch.bfloat16
    assert next(load(phi3)._model.parameters()).dtype == torch.float32
    assert isinstance(load(phi3, precision="bf16").write(CHAT), str)


def test_a_request_without_room_is_too_long(tmp_path: Path) -> None:
    model = load(make(tmp_path, room=64))
    with pytest.raises(TooLongError):
        model.write([{"role": "user", "content": "C1 covers 40 %. " * 60}])
    with pytest.raises(SarcoverError, match="has no room for the facts"):
        narrate(area(), model)


def test_models_without_a_system_role_are_told_all_the_same(tmp_path: Path) -> None:
    model = load(make(tmp_path, template=NO_SYSTEM))
    text = model._tokenizer.decode(model._encode(CHAT)["input_ids"][0])
    assert "You explain." in text
    assert "<|system|>" not in text
    assert isinstance(model.write(CHAT), str)


def test_a_model_that_cannot_chat_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SarcoverError, match="has no chat template"):
        load(make(tmp_path, template=None))


def test_a_model_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SarcoverError, match="cannot be loaded") as error:
        load(tmp_path / "nothing")
    assert "\n" not in str(error.value)


def test_pickled_weights_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path)
    from safetensors.torch import load_file

    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(SarcoverError, match="cannot be loaded"):
        load(folder)


@pytest.mark.parametrize(
    ("text", "done"),
    [
        ('{"claims": [{"text": "a"}]}', True),
        ('{"claims": [{"text": "a"}]', False),
        ('{"text": "a } b"', False),
        ('{"text": "a \\" } b"', False),
        ('Here: {"text": "{"} and more', True),
        ("} no", False),
        ("plain", False),
    ],
)
def test_the_end_of_the_json_is_seen_as_it_comes(text: str, done: bool) -> None:
    closed = Closed()
    for character in text:
        closed.add(character)
    assert closed.done == done


def test_generation_stops_when_the_json_is_closed(phi3: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(phi3, max_tokens=200)
    wanted = json.dumps({"claims": [{"kind": "what", "text": "C1 covers 40 %."}]}) + " and so on and so on"
    script = model._tokenizer(wanted)["input_ids"]
    start = len(model._encode(CHAT)["input_ids"][0])
    plain = model._model.forward

    def scripted(*args: Any, **options: Any) -> Any:
        out = plain(*args, **options)
        at = (
            int(options["cache_position"][-1])
            if options.get("cache_position") is not None
            else out.past_key_values.get_seq_length() - 1
        )
        token = script[min(at - start + 1, len(script) - 1)]
        out.logits[:, -1] = -100.0
        out.logits[:, -1, token] = 100.0
        return out

    monkeypatch.setattr(model._model, "forward", scripted)
    said = model.write(CHAT)
    assert said.startswith('{"claims"')
    assert "so on and so on" not in said
    (claim,) = [
        one.claim for one in __import__("sarcover.explain.reply", fromlist=["claims_in"]).claims_in(said)
    ]
    assert claim.text == "C1 covers 40 %."
