"""A hosted backend: searches behind OpenAI's protocol, for teams that share an engine."""
