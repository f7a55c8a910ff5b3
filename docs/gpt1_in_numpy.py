"""GPT-1 in about a hundred lines of numpy: read it once and you know the whole model.

It computes in float64, slowly and plainly, what `gpt1` computes fast; the tests hold the two
together. Letters in comments: T positions, C width (768), H heads (12), D = C / H, V vocabulary.

    python docs/gpt1_in_numpy.py src/gpt1/assets/mini "it was a dark and"
"""

import json
import struct
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

# --- Text to ids: byte-pair encoding -------------------------------------------------------------


def read_vocabulary(folder):
    """Return token -> id, and (left, right) -> rank: which pair is merged first."""
    vocabulary = json.loads((folder / "vocab.json").read_text("utf-8"))
    lines = (folder / "merges.txt").read_text("utf-8").split("\n")[1:-1]  # the first is a version
    return vocabulary, {tuple(line.split()): rank for rank, line in enumerate(lines)}


def encode_word(word, vocabulary, ranks):
    """Return a word's ids: merge its best pair again and again, until no pair is in the list."""
    symbols = [*word[:-1], word[-1] + "</w>"]  # the mark of a word's end belongs to the last one
    while len(symbols) > 1:
        pairs = list(pairwise(symbols))
        best = min(pairs, key=lambda pair: ranks.get(pair, np.inf))
        if best not in ranks:
            break
        merged, i = [], 0
        while i < len(symbols):  # left to right, all places of this pair
            here = tuple(symbols[i : i + 2]) == best
            merged.append(best[0] + best[1] if here else symbols[i])
            i += 2 if here else 1
        symbols = merged
    return [vocabulary.get(symbol, 0) for symbol in symbols]  # 0 is <unk>


def encode(text, vocabulary, ranks):
    """Return the ids of words set apart by spaces: "hello , my dog" (the real rules: gpt1.text)."""
    return [id for word in text.lower().split() for id in encode_word(word, vocabulary, ranks)]


# --- The weights ---------------------------------------------------------------------------------


def read_weights(folder):
    """Return name -> array. A safetensors file: a length, a JSON header, then all the numbers."""
    data = (folder / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    weights = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            start, end = (8 + length + place for place in entry["data_offsets"])
            kind = {"F32": "<f4", "F16": "<f2"}[entry["dtype"]]
            array = np.frombuffer(data[start:end], kind).reshape(entry["shape"])
            weights[name.removeprefix("transformer.")] = array.astype(np.float64)
    return weights


# --- The model: h_0 = tokens + positions; 12 blocks; logits = h_12 @ tokens^T ---------------------


def linear(x, w, name):
    return x @ w[f"{name}.weight"] + w[f"{name}.bias"]  # (T, in) @ (in, out) + (out,)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def layer_norm(x, w, name, epsilon):
    centred = x - x.mean(-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + epsilon)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def attention(x, w, name, n_head):
    T, C = x.shape
    q, k, v = np.split(linear(x, w, f"{name}.c_attn"), 3, axis=-1)  # each (T, C)
    heads = [a.reshape(T, n_head, C // n_head).swapaxes(0, 1) for a in (q, k, v)]  # (H, T, D)
    scores = heads[0] @ heads[1].swapaxes(1, 2) / np.sqrt(C // n_head)  # (H, T, T)
    scores = np.where(np.tril(np.ones((T, T), bool)), scores, -np.inf)  # nobody looks ahead
    mixed = softmax(scores) @ heads[2]  # (H, T, D): for each position, a mix of earlier values
    return linear(mixed.swapaxes(0, 1).reshape(T, C), w, f"{name}.c_proj")  # heads side by side


def mlp(x, w, name):
    return linear(gelu(linear(x, w, f"{name}.c_fc")), w, f"{name}.c_proj")  # (T, 4C) inside


def forward(ids, w, config):
    """Return the logits (T, V): row t scores every token as the one after ids[t]."""
    h = w["tokens_embed.weight"][ids] + w["positions_embed.weight"][: len(ids)]  # (T, C)
    epsilon = config["layer_norm_epsilon"]
    for i in range(config["n_layer"]):
        a = attention(h, w, f"h.{i}.attn", config["n_head"])
        n = layer_norm(h + a, w, f"h.{i}.ln_1", epsilon)  # the norm comes after the sum
        h = layer_norm(n + mlp(n, w, f"h.{i}.mlp"), w, f"h.{i}.ln_2", epsilon)
    return h @ w["tokens_embed.weight"].T  # the same matrix as at the beginning


def loss(ids, w, config):
    """Return the mean surprise, in nats, at each id after the first: what training lowers."""
    chances = softmax(forward(ids, w, config)[:-1])
    return -np.log(chances[np.arange(len(ids) - 1), ids[1:]]).mean()


def generate(ids, w, config, length):
    """Return `ids` continued to `length` of them, always with the likeliest token."""
    while len(ids) < length:
        ids = [*ids, int(forward(ids, w, config)[-1].argmax())]
    return ids


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    vocabulary, ranks = read_vocabulary(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    ids = generate(encode(sys.argv[2], vocabulary, ranks), read_weights(folder), config, 20)
    tokens = {id: token for token, id in vocabulary.items()}
    print("".join(tokens[id].replace("</w>", " ") for id in ids))
