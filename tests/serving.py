"""A server in this process, on a port of its own, with a tiny model of the article's sentence."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence

import httpx
import torch

from gpt1.config import ModelConfig, ServeConfig
from gpt1.model.transformer import Transformer
from gpt1.pipeline import GPT1
from gpt1.serving.limits import Keys
from gpt1.serving.models import Served
from gpt1.serving.server import Server
from gpt1.text.tokenizer import Tokenizer

SENTENCE = "hello , my dog is cute and i ' m so cute ."


def gpt(seed: int = 5, n_ctx: int = 64) -> GPT1:
    """Return a tiny model that generates in float32."""
    tokenizer = Tokenizer.train([SENTENCE] * 3, vocab_size=50)
    shape = {"n_ctx": n_ctx, "n_embd": 24, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}
    config = ModelConfig(vocab_size=len(tokenizer), **shape)
    model = Transformer(config, generator=torch.Generator().manual_seed(seed)).eval()
    return GPT1(model, tokenizer, dtype="float32")


class Running(Server):
    """A server whose address is known once it has started."""

    base_url = ""
    ready: threading.Event

    async def startup(self, sockets: object = None) -> None:
        await super().startup()
        port = self.servers[0].sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}"
        self.ready.set()

    def get(self, path: str, **options: object) -> httpx.Response:
        return httpx.get(self.base_url + path, timeout=60, **options)

    def post(self, path: str, body: object = None, **options: object) -> httpx.Response:
        if body is not None:
            options["json"] = body
        return httpx.post(self.base_url + path, timeout=60, **options)


@contextlib.contextmanager
def running(
    models: Sequence[Served], keys: Sequence[str] = (), **settings: object
) -> Iterator[Running]:
    """Run a server while the block lasts; it ends as by SIGTERM."""
    server = Running(models, ServeConfig(port=0, **settings), Keys(keys))
    server.ready = threading.Event()
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.ready.wait(30)
    try:
        yield server
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()
