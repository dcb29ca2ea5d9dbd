"""OpenAI's own API, which the local worker speaks too."""

from providers.testing_openai import OpenAIFake as Fake

__all__ = ["Fake"]
