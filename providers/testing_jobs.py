"""What the fake upstream knows: its configuration, the faults it was told to play, its jobs and its counts."""

import dataclasses
import re
import secrets
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Final

FAULTS: Final[Mapping[str, tuple[str, int]]] = {
    # create, nothing is made
    "rate_limited": ("refuse", 1),
    "rate_limited_bare": ("refuse", 1),
    "html_502": ("refuse", 1),
    "server_error": ("refuse", 1),
    "drop_before": ("refuse", 1),
    "auth": ("refuse", 0),
    "funds": ("refuse", 0),
    "invalid": ("refuse", 0),
    "moderation_submit": ("refuse", 0),
    "concurrency": ("refuse", 0),
    "retired": ("refuse", 0),
    "business_error": ("refuse", 1),  # the rate limit, told inside HTTP 200
    # create, the job is made and the answer is bad
    "ambiguous_drop": ("answer", 1),
    "ambiguous_504": ("answer", 1),
    "truncated_json": ("answer", 1),
    "no_id": ("answer", 1),
    # poll
    "unknown_state": ("poll", 1),
    "truncated_poll": ("poll", 1),
    "html_502_poll": ("poll", 1),
    "rate_limited_poll": ("poll", 1),
    "drop_poll": ("poll", 1),
    "lost": ("poll", 0),
    # how the job goes
    "slow": ("job", 0),
    "never": ("job", 0),
    "failed": ("job", 0),
    "moderation": ("job", 0),
    "out_of_memory": ("job", 0),
    "cancelled": ("job", 0),
    "expired": ("job", 0),
    "completed_with_error": ("job", 0),
    "foreign_url_field": ("job", 0),
    "duplicate_callback": ("job", 0),
    # content
    "completed_without_video": ("content", 0),
    "content_html": ("content", 0),
    "content_502": ("content", 1),
    "foreign_url": ("content", 0),
    "expired_foreign_url": ("content", 0),
    "private_redirect": ("content", 0),
    "expired_url": ("content", 1),
    "slow_body": ("content", 0),
    "truncated_content": ("content", 1),
}
"""Name: (where it strikes, how often unless the token says so; 0 = always)."""

_TOKEN: Final = re.compile(r"\[fault:([a-z0-9_]+)(?::(\d+))?\]")
ENDS: Final[Mapping[str, tuple[str, str | None, str | None]]] = {
    "failed": ("failed", "server_error", "The generation failed."),
    "moderation": ("failed", "moderation_blocked", "The request was blocked by our moderation system."),
    "out_of_memory": ("failed", "out_of_memory", "Out of memory."),
    "cancelled": ("cancelled", None, None),
    "expired": ("expired", None, None),
    "completed_with_error": ("completed", "server_error", "The video could not be finished."),
}
"""What a fault of the job ends with: OpenAI's status, error code and message."""


@dataclass
class Config:
    """Behaviour of all jobs. Pairs are [lowest, highest], drawn per job or request; *_ms are milliseconds."""

    idempotency: bool = False
    lookup: bool = False
    submit_delay_ms: tuple[int, int] = (0, 0)
    answer_delay_ms: tuple[int, int] = (0, 0)
    run_seconds: tuple[float, float] = (0.0, 0.0)
    slow_seconds: float = 3.0
    poll_after_ms: int | None = None
    retry_after_seconds: float = 1
    content_bytes: int = 0
    body_pause_ms: int = 200
    cost_usd: str | None = None
    gpu_seconds: str | None = None
    api_key: str | None = None

    def updated(self, changes: Mapping[str, Any]) -> "Config":
        """A copy with some values changed. Raises TypeError for an unknown name."""
        values = {name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()}
        return Config(**{**dataclasses.asdict(self), **values})


@dataclass
class Job:
    """One video upstream. Times are seconds since the epoch, `seconds` is the length of the file."""

    id: str
    operation: str
    model: str
    prompt: str
    size: str
    seconds: Fraction
    created: float
    ready: float
    key: str = ""
    source: str | None = None
    reference: str | None = None
    callback_url: str | None = None
    faults: Mapping[str, int] = field(default_factory=dict)
    mount: str = ""  # the fake provider it belongs to
    path: str = ""  # of its create
    fields: Mapping[str, Any] = field(default_factory=dict)  # the body of its create
    cancelled: bool = False

    def state(self, now: float) -> str:
        """queued, running, completed, or the fault it ends with: failed, moderation, cancelled, ..."""
        if self.cancelled:
            return "cancelled"
        if now < self.ready:
            return "queued" if now - self.created < 0.1 * min(self.ready - self.created, 10) else "running"
        return next((name for name in self.faults if name in ENDS), "completed")

    def progress(self, now: float) -> float:
        """How far it is, 0..1."""
        return max(0.0, min(1.0, (now - self.created) / max(0.001, self.ready - self.created)))

    def status(self, now: float) -> str:
        """The state in OpenAI's words."""
        state = self.state(now)
        return ENDS[state][0] if state in ENDS else {"running": "in_progress"}.get(state, state)

    def error(self, now: float) -> dict[str, Any] | None:
        """OpenAI's error object of a finished job that failed."""
        _, code, message = ENDS.get(self.state(now), (None, None, None))
        return {"code": code, "message": message} if code else None


class FakeState:
    """Everything the fake remembers, in memory."""

    def __init__(self) -> None:
        self.config = Config()
        self.jobs: dict[str, Job] = {}
        self.characters: dict[str, dict[str, Any]] = {}
        self.requests: deque[dict[str, Any]] = deque(maxlen=20_000)
        self.creates: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.max_live = 0
        self.total = 0
        self._by_key: dict[str, str] = {}
        self._struck: Counter[tuple[str, str]] = Counter()
        self._ordered: Counter[str] = Counter()
        self._live: dict[str, float] = {}

    def order(self, name: str, times: int) -> None:
        """Play a fault for the next requests, whatever their prompt. Raises KeyError for an unknown one."""
        self._ordered[name] += times * bool(FAULTS[name])

    def strike(self, stage: str, faults: Mapping[str, int], scope: str) -> str | None:
        """The fault to play now at this stage, counted; None for none."""
        for name in [n for n, left in self._ordered.items() if left > 0 and FAULTS[n][0] == stage]:
            self._ordered[name] -= 1
            return name
        for name, times in faults.items():
            if FAULTS[name][0] != stage:
                continue
            self._struck[scope, name] += 1
            if times == 0 or self._struck[scope, name] <= times:
                return name
        return None

    def known(self, key: str) -> Job | None:
        """The job this Idempotency-Key made, where keys are honoured."""
        return self.jobs.get(self._by_key.get(key, "")) if self.config.idempotency else None

    def add(self, job: Job) -> None:
        """Start a job and count it."""
        self.jobs[job.id] = job
        self.total += 1
        self.creates[job.key] += 1
        if job.key:
            self._by_key[job.key] = job.id
        self._live[job.id] = job.ready
        self.max_live = max(self.max_live, self.live())

    def remove(self, job: Job) -> None:
        """Delete a job, which stops it."""
        self.jobs.pop(job.id, None)
        self._live.pop(job.id, None)

    def cancel(self, job: Job) -> None:
        """Stop a job that is not finished; it stays to be read."""
        job.cancelled = job.cancelled or time.time() < job.ready
        self._live.pop(job.id, None)

    def live(self) -> int:
        """How many jobs are not finished."""
        now = time.time()
        self._live = {id_: ready for id_, ready in self._live.items() if ready > now}
        return len(self._live)

    def run_time(self, faults: Mapping[str, int]) -> float:
        """How long a new job takes, in seconds."""
        if "never" in faults:
            return 10.0**9
        return secrets.SystemRandom().uniform(*self.config.run_seconds) + (
            self.config.slow_seconds if "slow" in faults else 0
        )

    def stats(self) -> dict[str, Any]:
        """Counts for the tests."""
        return {
            "jobs": self.total,
            "live": self.live(),
            "max_live": self.max_live,
            "creates": dict(self.creates),
            "doubles": {key: count for key, count in self.creates.items() if key and count > 1},
            "calls": dict(self.calls),
        }

    def shown(self, job: Job, base: str) -> dict[str, Any]:
        """The video object of a job; `base` is the foreign origin its files may lie at."""
        now = time.time()
        status = job.status(now)
        video: dict[str, Any] = {
            "id": job.id,
            "object": "video",
            "model": job.model,
            "status": status,
            "progress": 100 if status == "completed" else min(99, int(100 * job.progress(now))),
            "created_at": int(job.created),
            "completed_at": int(job.ready) if status == "completed" else None,
            "expires_at": int(job.ready) + 3600 if status == "completed" else None,
            "prompt": job.prompt,
            "size": job.size,
            "seconds": f"{float(job.seconds):g}",
            "remixed_from_video_id": job.source,
            "error": job.error(now),
        }
        if self.config.lookup and job.reference:
            video["client_reference"] = job.reference
        if self.config.cost_usd is not None:
            video["cost"] = {"currency": "usd", "amount": self.config.cost_usd}
        if self.config.gpu_seconds is not None:
            video["usage"] = {"gpu_seconds": self.config.gpu_seconds}
        if "foreign_url_field" in job.faults and status == "completed":
            video["url"] = f"{base}/foreign/{job.id}"
        return video


def faults_in(prompt: str) -> dict[str, int]:
    """The faults a prompt asks for with [fault:name] or [fault:name:times]."""
    found = _TOKEN.findall(prompt)
    return {name: int(times) if times else FAULTS[name][1] for name, times in found if name in FAULTS}


def new_id(prefix: str) -> str:
    """A fresh id."""
    return f"{prefix}_{secrets.token_hex(16)}"
