"""Model folders exchanged with transformers, both ways."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    OpenAIGPTConfig,
    OpenAIGPTLMHeadModel,
    OpenAIGPTModel,
)

import tiny
from gpt1.checkpoint import folder, huggingface
from gpt1.text.tokenizer import Tokenizer
from tolerances import EXACT, FP32

IDS = torch.tensor([[3, 14, 15, 9, 2, 6], [5, 3, 5, 8, 9, 7]])


def differs(a: Tensor, b: Tensor) -> float:
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.fixture(scope="module")
def theirs() -> OpenAIGPTLMHeadModel:
    torch.manual_seed(0)
    values = huggingface.write_config(tiny.config(), None)
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**values)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    place = tmp_path_factory.mktemp("vocabulary")
    tiny.write_vocabulary(place)
    return Tokenizer.load(place)


def test_transformers_loads_model_and_tokenizer_that_we_save(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    ours = tiny.model()
    folder.save(tmp_path / "m", ours, tokenizer)
    loaded, notes = AutoModelForCausalLM.from_pretrained(tmp_path / "m", output_loading_info=True)
    assert not any(notes.values())  # nothing missing, left over or misshapen
    assert isinstance(loaded, OpenAIGPTLMHeadModel)
    with torch.no_grad():
        assert differs(loaded.eval()(IDS).logits, ours(IDS).logits) <= FP32
    assert loaded.lm_head.weight is loaded.transformer.tokens_embed.weight
    assert loaded.config.eos_token_id == tokenizer.eos_id
    assert loaded.config.vocab_size == len(tokenizer)
    words = AutoTokenizer.from_pretrained(tmp_path / "m")
    fast = Tokenizer.load(tmp_path / "m", words="fast")
    for text in ("the dog and the cat", "It's a DOG: 42!", "zebra <unk> ü"):
        assert words(text)["input_ids"] == fast.encode(text)
    assert len(words) == len(fast)


def test_the_end_token_ends_a_text_in_transformers_too(tmp_path: Path) -> None:
    tiny.write_vocabulary(tmp_path / "vocabulary")
    tokenizer = Tokenizer.load(tmp_path / "vocabulary")
    (end,) = tokenizer.add_tokens(["<|endoftext|>"])
    ours = tiny.model(vocab_size=len(tokenizer))
    with torch.no_grad():  # wherever it is, the end is likeliest
        ours.tokens.weight[end] = 50 * ours.hidden(IDS)[0, -1] / IDS.shape[1]
    folder.save(tmp_path / "m", ours, tokenizer)
    assert folder.load(tmp_path / "m").config.vocab_size == end + 1
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "m").eval()
    assert loaded.config.eos_token_id == loaded.generation_config.eos_token_id == end
    written = loaded.generate(
        IDS[:1], attention_mask=torch.ones_like(IDS[:1]), max_new_tokens=5, do_sample=False,
        pad_token_id=end,
    )  # fmt: skip
    assert written[0].tolist() == [*IDS[0].tolist(), end]
    words = AutoTokenizer.from_pretrained(tmp_path / "m")
    assert words.convert_tokens_to_ids("<|endoftext|>") == end == words.eos_token_id


@pytest.mark.parametrize("form", ["whole", "shards", "base"])
def test_we_load_what_transformers_saves(
    tmp_path: Path, theirs: OpenAIGPTLMHeadModel, form: str
) -> None:
    model: OpenAIGPTLMHeadModel | OpenAIGPTModel = theirs
    if form == "base":  # its names have no prefix
        model = OpenAIGPTModel(theirs.config)
        model.load_state_dict(theirs.transformer.state_dict())
    model.save_pretrained(tmp_path / "m", max_shard_size="20KB" if form == "shards" else "5GB")
    assert (tmp_path / "m" / "model.safetensors").exists() == (form != "shards")
    ours = folder.build(folder.load(tmp_path / "m"))
    with torch.no_grad():
        assert differs(ours(IDS).logits, theirs(IDS).logits) <= FP32


def test_the_way_there_and_back_changes_no_bit(tmp_path: Path) -> None:
    folder.save(tmp_path / "a", tiny.model(), None)
    AutoModelForCausalLM.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    loaded = folder.load(tmp_path / "b")
    assert loaded.config == tiny.config()
    for name, tensor in tiny.model().state_dict().items():
        assert_close(loaded.state[name], tensor, **EXACT)
