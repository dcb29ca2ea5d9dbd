"""The providers of npm's AI SDK that speak to a vendor's own API: xAI (whose Python client is gRPC), Ark, DashScope."""

import base64
import json
import subprocess
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from tests.conformance.official import Ended, OfficialClient
from tests.sdk.install import VENVS, node

_SOURCE = Path(__file__).parents[1] / "node"
_FOLDER = VENVS / "conformance-node"


class GenerationError(Exception):
    """What `generateVideo` threw: its name, the HTTP status it knows, the message."""


class AISDK(OfficialClient):
    """`generateVideo`, which creates, waits and downloads; there is no cancel."""

    success = "done"
    package: ClassVar[str]
    factory: ClassVar[str]
    base_url: ClassVar[tuple[str, str]]
    """Name of the setting, and what it has behind the host."""
    model: ClassVar[str]
    options: ClassVar[Mapping[str, Any]]

    def make(self, prompt: str) -> Ended:
        """Run it in Node."""
        name, path = self.base_url
        order = {
            "package": self.package,
            "factory": self.factory,
            "settings": {name: f"{self.origin}{path}", "apiKey": self.credential},
            "model": self.model,
            "prompt": prompt,
            "options": self.options,
        }
        command = [_node(), _SOURCE / "generate.mjs", _FOLDER]
        done = subprocess.run(command, input=json.dumps(order), check=True, capture_output=True, text=True)
        shown = json.loads(done.stdout)
        if "error" in shown:
            error = shown["error"]
            raise GenerationError(f"{error['name']} {error['statusCode']} {error['message']}")
        assert shown["warnings"] == []
        return Ended("done", video=base64.b64decode(shown["video"]))


class XAI(AISDK):
    """@ai-sdk/xai."""

    provider = "xai"
    package, factory, base_url = "@ai-sdk/xai", "createXai", ("baseURL", "/xai/v1")
    model = "grok-imagine-video-1.5"
    options: ClassVar = {
        "aspectRatio": "16:9",
        "duration": 4,
        "providerOptions": {"xai": {"resolution": "720p", "pollIntervalMs": 50}},
    }
    refusals: ClassVar = {
        "auth": (GenerationError, "AI_APICallError 401 Invalid API key."),
        "rate_limited": (GenerationError, "AI_APICallError 429 Too many requests."),
        "invalid": (GenerationError, "AI_APICallError 400 invalid-argument: Invalid request."),
        "moderation_submit": (GenerationError, "AI_APICallError 400 invalid-argument: The prompt violates"),
        "retired": (GenerationError, "AI_APICallError 404 not-found"),
        "server_error": (GenerationError, "AI_APICallError 500 Internal error."),
        "lost": (GenerationError, "AI_APICallError 404 not-found"),
        "failed": (GenerationError, "XAI_VIDEO_GENERATION_FAILED"),
        "moderation": (GenerationError, "XAI_VIDEO_MODERATION_ERROR"),
        "expired": (GenerationError, "XAI_VIDEO_GENERATION_EXPIRED"),
    }


class ByteDance(AISDK):
    """@ai-sdk/bytedance."""

    provider = "ark"
    package, factory, base_url = "@ai-sdk/bytedance", "createByteDance", ("baseURL", "/ark/api/v3")
    model = "doubao-seedance-2-0-260128"
    options: ClassVar = {
        "aspectRatio": "16:9",
        "resolution": "1280x720",
        "duration": 5,
        "providerOptions": {"bytedance": {"pollIntervalMs": 50}},
    }
    refusals: ClassVar = {
        "auth": (GenerationError, "AI_APICallError 401 The API key is missing or invalid."),
        "rate_limited": (GenerationError, "AI_APICallError 429 Too many requests per minute."),
        "invalid": (GenerationError, "AI_APICallError 400 A parameter is not valid."),
        "moderation_submit": (GenerationError, "AI_APICallError 400 The input text may be sensitive."),
        "failed": (GenerationError, "BYTEDANCE_VIDEO_GENERATION_FAILED"),
        "moderation": (GenerationError, "BYTEDANCE_VIDEO_GENERATION_FAILED"),
    }


class Alibaba(AISDK):
    """@ai-sdk/alibaba."""

    provider = "dashscope"
    package, factory, base_url = "@ai-sdk/alibaba", "createAlibaba", ("videoBaseURL", "/dashscope")
    model = "wan2.7-t2v"
    options: ClassVar = {
        "aspectRatio": "16:9",
        "resolution": "1280x720",
        "duration": 5,
        "providerOptions": {"alibaba": {"pollIntervalMs": 50}},
    }
    refusals: ClassVar = {
        "auth": (GenerationError, "AI_APICallError 401 Invalid API-key provided."),
        "rate_limited": (GenerationError, "AI_APICallError 429 Requests rate limit exceeded."),
        "invalid": (GenerationError, "AI_APICallError 400 A parameter is not valid."),
        "moderation_submit": (GenerationError, "AI_APICallError 400 Input data may contain"),
        "failed": (GenerationError, "ALIBABA_VIDEO_GENERATION_FAILED None Video generation failed."),
        "moderation": (GenerationError, "Output data may contain inappropriate content."),
        "cancelled": (GenerationError, "Video generation canceled."),
    }


@cache
def _node() -> Path:
    return node(_SOURCE, _FOLDER)
