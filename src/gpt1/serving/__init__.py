"""The server: OpenAI's completions, the model's inside and the studio over HTTP (extra `serve`)."""
