"""Ids, paths, methods, keys and settings that are wrong, and what each is answered."""

from typing import Any, Final

from tests.e2e.bad_requests import NO_ID, VIDEOS, Bad

PROJECTS: Final = "/v1/organization/projects"
HOOKS: Final = "/v1/webhook_endpoints"


def _unknown(method: str, path: str, param: str, code: str, body: Any = None) -> Bad:
    return Bad(
        f"unknown id {method} {path}", path, param, "No ", status=404, code=code, method=method, json=body
    )


NUL_URLS: Final = [
    *(("GET", f"{VIDEOS}/a%00b{rest}") for rest in ("", "/content", "/events")),
    *(("POST", f"{VIDEOS}/a%00b{rest}") for rest in ("/cancel", "/remix")),
    *(
        ("DELETE", f"{path}/a%00b")
        for path in (
            VIDEOS,
            "/v1/files",
            HOOKS,
            f"{PROJECTS}/a%00b/api_keys",
            f"{PROJECTS}/proj_default/api_keys",
        )
    ),
    *(
        ("GET", f"{path}/%00")
        for path in (f"{VIDEOS}/characters", "/v1/files", HOOKS, PROJECTS, "/v1/models", "/docs/api")
    ),
    *(
        ("GET", f"{path}?after=a%00b")
        for path in (VIDEOS, "/v1/files", HOOKS, f"{HOOKS}/default/deliveries", PROJECTS, "/v1/organizations")
    ),
    ("POST", f"{HOOKS}/default/deliveries/%00/redeliver"),
    ("POST", f"{PROJECTS}/%00/api_keys"),
    ("GET", f"{VIDEOS}/{NO_ID}/content?variant=%00"),
]

PLACES: Final = [
    Bad(
        "unknown model",
        VIDEOS,
        "model",
        "acme/fast",
        status=404,
        code="model_not_found",
        json={"prompt": "x", "model": "acme/none"},
    ),
    Bad(
        "unknown fallback",
        VIDEOS,
        "fallbacks[0]",
        "acme/fast",
        status=404,
        code="model_not_found",
        json={"prompt": "x", "fallbacks": ["acme/none"]},
    ),
    Bad(
        "unknown input file",
        VIDEOS,
        "input_reference[file_id]",
        "upload",
        status=404,
        code="file_not_found",
        json={"prompt": "x", "input_reference": {"file_id": "file_1"}},
    ),
    _unknown(
        "POST", f"{VIDEOS}/edits", "video[id]", "video_not_found", {"prompt": "x", "video": {"id": NO_ID}}
    ),
    _unknown(
        "POST",
        f"{VIDEOS}/extensions",
        "video[id]",
        "video_not_found",
        {"prompt": "x", "seconds": "4", "video": {"id": NO_ID}},
    ),
    *(
        _unknown(method, f"{VIDEOS}/{video_id}{rest}", "video_id", "video_not_found", body)
        for method, rest, body in (
            ("GET", "", None),
            ("DELETE", "", None),
            ("GET", "/content", None),
            ("GET", "/events", None),
            ("POST", "/cancel", None),
            ("POST", "/remix", {"prompt": "x"}),
        )
        for video_id in (NO_ID, "%ff")
    ),
    *(
        _unknown(method, path.format(an_id), param, code, body)
        for method, path, param, code, body in (
            ("GET", VIDEOS + "/characters/{}", "character_id", "character_not_found", None),
            ("GET", "/v1/files/{}", "file_id", "file_not_found", None),
            ("GET", "/v1/files/{}/content", "file_id", "file_not_found", None),
            ("DELETE", "/v1/files/{}", "file_id", "file_not_found", None),
            ("GET", HOOKS + "/{}", "webhook_endpoint_id", "webhook_endpoint_not_found", None),
            ("POST", HOOKS + "/{}", "webhook_endpoint_id", "webhook_endpoint_not_found", {"name": "x"}),
            ("DELETE", HOOKS + "/{}", "webhook_endpoint_id", "webhook_endpoint_not_found", None),
            ("POST", HOOKS + "/{}/rotate_secret", "webhook_endpoint_id", "webhook_endpoint_not_found", {}),
            (
                "POST",
                HOOKS + "/{}/test",
                "webhook_endpoint_id",
                "webhook_endpoint_not_found",
                {"event_type": "video.failed"},
            ),
            ("GET", HOOKS + "/{}/deliveries", "webhook_endpoint_id", "webhook_endpoint_not_found", None),
            ("POST", HOOKS + "/default/deliveries/{}/redeliver", "delivery_id", "delivery_not_found", {}),
            ("GET", PROJECTS + "/{}", "project_id", "project_not_found", None),
            ("POST", PROJECTS + "/{}", "project_id", "project_not_found", {"name": "x"}),
            ("POST", PROJECTS + "/{}/archive", "project_id", "project_not_found", None),
            ("GET", PROJECTS + "/{}/api_keys", "project_id", "project_not_found", None),
            ("POST", PROJECTS + "/{}/api_keys", "project_id", "project_not_found", {"name": "x"}),
            ("GET", PROJECTS + "/proj_default/api_keys/{}", "key_id", "key_not_found", None),
            ("DELETE", PROJECTS + "/proj_default/api_keys/{}", "key_id", "key_not_found", None),
        )
        for an_id in ("none", "%ff")
    ),
    Bad(
        "unknown id GET /v1/models/none",
        "/v1/models/none",
        "model",
        "acme/fast",
        status=404,
        code="model_not_found",
        method="GET",
    ),
    *(
        Bad(f"cursor of {path}", f"{path}?after=none", "after", word, method="GET", code=code)
        for path, word, code in (
            (VIDEOS, "last_id", "invalid_value"),
            ("/v1/files", "names no file", "invalid_value"),
            (HOOKS, "not in this list", "invalid_cursor"),
            (f"{HOOKS}/default/deliveries", "not in this list", "invalid_cursor"),
            (PROJECTS, "No entry", "invalid_value"),
            (f"{PROJECTS}/proj_default/api_keys", "No entry", "invalid_value"),
            ("/v1/organizations", "No entry", "invalid_value"),
        )
    ),
    *(
        Bad(f"NUL in {method} {path}", path, None, "NUL", method=method, code="invalid_url")
        for method, path in NUL_URLS
    ),
    Bad("limit of no number", f"{VIDEOS}?limit=x", "limit", "int", method="GET"),
    Bad("limit too high", f"{VIDEOS}?limit=101", "limit", "100", method="GET"),
    Bad("unknown order", f"{VIDEOS}?order=up", "order", "asc", method="GET"),
    Bad("unknown variant", f"{VIDEOS}/{NO_ID}/content?variant=gif", "variant", "thumbnail", method="GET"),
    Bad("unknown order of files", "/v1/files?order=up", "order", "asc", method="GET"),
    Bad("unknown purpose", "/v1/files?purpose=fun", "purpose", "vision", method="GET"),
    Bad("wrong method", VIDEOS, None, "GET or POST", method="PUT", status=405, code="method_not_allowed"),
    Bad(
        "wrong method of a quote",
        f"{VIDEOS}/quote",
        None,
        "POST",
        method="PATCH",
        status=405,
        code="method_not_allowed",
    ),
    Bad("wrong path", "/v1/video", None, "/docs", method="GET", status=404, code="unknown_path"),
    Bad("wrong path with a NUL", "/%00", None, "/docs", method="GET", status=404, code="unknown_path"),
    Bad(
        "Idempotency-Key too long",
        VIDEOS,
        "Idempotency-Key",
        "255",
        json={"prompt": "x"},
        headers={"Idempotency-Key": "x" * 256},
    ),
    Bad(
        "unknown project",
        VIDEOS,
        "X-Onereel-Project",
        "No project",
        status=404,
        code="project_not_found",
        json={"prompt": "x"},
        headers={"X-Onereel-Project": "a%00"},
    ),
    Bad(
        "no key",
        VIDEOS,
        None,
        "Bearer",
        status=401,
        code="invalid_api_key",
        json={"prompt": "x"},
        headers={"Authorization": ""},
    ),
    Bad(
        "wrong key",
        VIDEOS,
        None,
        "Incorrect",
        status=401,
        code="invalid_api_key",
        json={"prompt": "x"},
        headers={"Authorization": "Bearer x"},
    ),
    Bad(
        "key of no form",
        VIDEOS,
        None,
        "Bearer <key>",
        status=401,
        code="invalid_api_key",
        json={"prompt": "x"},
        headers={"Authorization": "Basic eDp5"},
    ),
]

RECORDS: Final = [
    Bad(
        "key without a name",
        f"{PROJECTS}/proj_default/api_keys",
        "name",
        "name",
        code="missing_required_parameter",
        json={},
    ),
    Bad(
        "key with an unknown scope",
        f"{PROJECTS}/proj_default/api_keys",
        "scopes[0]",
        "videos.read",
        json={"name": "x", "scopes": ["all"]},
    ),
    Bad(
        "key that is over",
        f"{PROJECTS}/proj_default/api_keys",
        "expires_at",
        "time to come",
        json={"name": "x", "expires_at": 5},
    ),
    Bad(
        "key with an unknown field",
        f"{PROJECTS}/proj_default/api_keys",
        "allowance",
        "Unknown field",
        code="unknown_parameter",
        json={"name": "x", "allowance": 1},
    ),
    Bad(
        "key with a budget that is a number",
        f"{PROJECTS}/proj_default/api_keys",
        "budget",
        "must be an object",
        json={"name": "x", "budget": 1},
    ),
    Bad(
        "key with a limit of true",
        f"{PROJECTS}/proj_default/api_keys",
        "requests_per_minute",
        ": must be a whole",
        json={"name": "x", "requests_per_minute": True},
    ),
    Bad("project with a NUL", PROJECTS, "name", "NUL", json={"name": "a\0"}),
    Bad("project without a name", PROJECTS, "name", "name", json={"name": " "}),
    Bad(
        "webhook endpoint at a private address",
        HOOKS,
        "url",
        "private",
        code="invalid_url",
        json={"name": "x", "url": "http://192.168.0.1/", "event_types": ["video.failed"]},
    ),
    Bad(
        "webhook of an unknown event",
        HOOKS,
        "event_types[0]",
        "video.completed",
        json={"name": "x", "url": "https://example.com/", "event_types": ["video.made"]},
    ),
    Bad(
        "webhook of no event",
        HOOKS,
        "event_types",
        "at least 1",
        json={"name": "x", "url": "https://example.com/", "event_types": []},
    ),
]
