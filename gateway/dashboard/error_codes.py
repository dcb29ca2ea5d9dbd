"""Every `error.code` of the API with what it means and what helps. A test compares this list with the code."""

from dataclasses import dataclass
from typing import Final

from gateway.dashboard.advice import advice


@dataclass(frozen=True, slots=True)
class Code:
    """One code. `status` is the answer's HTTP status; that of a failed video is empty."""

    code: str
    status: str
    meaning: str
    fix: str


@dataclass(frozen=True, slots=True)
class Group:
    """Codes that belong together; `id` is its place in the page."""

    id: str
    title: str
    codes: tuple[Code, ...]


_NOT_THERE: Final = "It does not exist, or belongs to another project."
_CHECK_ID: Final = "Check the id, and that the key belongs to the right project."
_ENCODE: Final = "Let your HTTP library or the SDK write the body."


def _group(title: str, *rows: tuple[str, str, str, str]) -> Group:
    return Group(title.lower().replace(" ", "-"), title, tuple(Code(*row) for row in rows))


GROUPS: Final[tuple[Group, ...]] = (
    _group(
        "Fields",
        ("invalid_value", "400", "A field has a value that is not allowed.", "param names the field, the message the values."),
        ("invalid_type", "400", "A field has the wrong type.", "Send the type that the message names."),
        ("invalid_request", "400", "The request is not one that this path takes.", "Compare it with the API reference."),
        ("missing_required_parameter", "400", "A field that is needed is missing.", "Add the field in param."),
        ("unknown_parameter", "400", "There is no such field. Nothing is dropped silently.", "Take it out, or correct its name."),
        ("unsupported_value", "400", "This model cannot do that.", "Take a value from the message, or a model that it names."),
        ("max_cost_exceeded", "400", "It costs more than your max_cost.", "Raise max_cost, or ask for less."),
        ("price_unknown", "400", "Nobody set a price for this model and shape.", "Choose another model; the operator can set prices."),
        ("name_taken", "400", "The name is in use.", "Choose another name."),
        ("invalid_cursor", "400", "A list cannot begin there.", "Use the last_id of the page before."),
    ),
    _group(
        "Files and sources",
        ("invalid_media", "400", "The file is no picture or video that can be read.", "Send JPEG, PNG, WebP, MP4, MOV or WebM."),
        ("invalid_file", "400", "The file cannot be kept for this purpose.", "The message says what is taken."),
        ("invalid_base64", "400", "A data: address is not valid base64.", "Encode it again, or upload the file."),
        ("invalid_url", "400", "The address is not a public http or https address.", "Use a public address, or upload the file."),
        ("input_too_large", "400", "The file is larger than the model takes.", "Make it smaller, or choose another model."),
        ("file_too_large", "413", "The file is larger than this server takes.", "Make it smaller."),
        ("video_too_long", "400", "The video is, or would become, too long.", "Shorten it."),
        ("video_not_ready", "400", "The video is not completed yet.", "Wait for completed."),
        ("video_failed", "400", "There is no file: the video failed.", "Read its error, then make another."),
        ("video_expired", "400", "The video's file is no longer kept.", "Make it again."),
        ("content_expired", "404", "The file is no longer kept.", "Make the video again, and download it before expires_at."),
        ("source_not_supported", "400", "The model works only on videos that it made.", "Name one of those, or another model."),
        ("preview_failed", "503", "The preview could not be made.", "Try again; the video itself is not affected."),
        ("unreadable", "400", "The origin that the file states cannot be read.", "The video itself is not affected."),
        ("upload_failed", "503", "The upload could not be written down.", "Try again."),
    ),
    _group(
        "The body",
        ("invalid_json", "400", "The JSON cannot be read.", "The message says where it breaks."),
        ("invalid_multipart", "400", "The form cannot be read.", _ENCODE),
        ("invalid_encoding", "400", "A text of the form is not UTF-8.", "Send UTF-8."),
        ("invalid_field_name", "400", "The name of a form field cannot be read.", "Write nested fields as a[b]."),
        ("ambiguous_field", "400", "A field is a text and an object at once.", "Send one of them."),
        ("duplicate_field", "400", "A field is there twice.", "Send it once; lists are written name[]."),
        ("missing_boundary", "400", "The form has no boundary.", _ENCODE),
        ("too_deep", "400", "It is nested too deeply.", "Flatten it."),
        ("too_many_fields", "400", "It has too many values.", "Send fewer."),
        ("too_many_files", "400", "It has too many files.", "Send fewer, or upload them first."),
        ("unsupported_content_type", "400", "The Content-Type is not one that is read.", "Send JSON or multipart/form-data."),
        ("unsupported_content_encoding", "400", "The body is compressed.", "Send it uncompressed."),
        ("payload_too_large", "413", "The body is too large.", "Upload files with POST /v1/files."),
        ("request_timeout", "408", "The request came too slowly.", "Send it again."),
        ("headers_too_large", "431", "The head has more than 64 KiB.", "Send fewer or shorter headers."),
        ("invalid_http", "400", "That was no HTTP.", "Check that the client speaks http or https as the address says."),
        ("range_not_satisfiable", "416", "The file has no such bytes.", "Ask for a range within its length."),
        ("idempotency_key_reused", "400", "The Idempotency-Key was used with another body.", "Use a new key for a new request."),
    ),
    _group(
        "Keys and rights",
        ("invalid_api_key", "401", "The key is missing, unknown, expired or revoked.", "Send Authorization: Bearer and a key that is in use."),
        ("missing_scope", "403", "The key may not do this.", "Use a key with the scope that the message names."),
        ("model_not_allowed", "403", "The key may not use this model.", "Choose another model, or change the key."),
        ("permission_denied", "403", "This is not yours to do.", "Ask an administrator."),
        ("plan_limit", "403", "The plan does not include it.", "Ask for less, or change the plan."),
        ("organization_suspended", "403", "The organization has to pay first.", "Top up, or pay the open invoice."),
        ("project_archived", "400", "The project is archived.", "Use another project."),
        ("callback_refused", "403", "A callback without the provider's proof.", "Only providers send these."),
        ("metrics_not_allowed", "403", "Metrics are for this machine.", "Set metrics.token and send it as a bearer."),
    ),
    _group(
        "Limits",
        ("rate_limit_exceeded", "429", "Too many requests in a minute.", "Wait as many seconds as Retry-After says."),
        ("insufficient_quota", "429", "Credit or a budget is used up.", "Top up or raise the budget: waiting does not help."),
        ("too_many_webhook_endpoints", "400", "The project has as many endpoints as it may.", "Delete one that is not used."),
    ),
    _group(
        "Not there",
        ("unknown_path", "404", "There is no such path.", "Compare it with the API reference."),
        ("method_not_allowed", "405", "The path does not take this method.", "Use one of those in the message."),
        ("not_found", "404", _NOT_THERE, _CHECK_ID),
        ("model_not_found", "404", "There is no such model here, or it was shut down.", "GET /v1/models lists those there are."),
        ("video_not_found", "404", _NOT_THERE, _CHECK_ID),
        ("file_not_found", "404", _NOT_THERE, "Upload it with POST /v1/files."),
        ("character_not_found", "404", _NOT_THERE, "Make it with POST /v1/videos/characters."),
        ("input_not_found", "404", "The address of an input file is over.", "Only providers use these."),
        ("webhook_endpoint_not_found", "404", _NOT_THERE, _CHECK_ID),
        ("delivery_not_found", "404", "There is no such delivery, or it is older than 30 days.", "List the endpoint's deliveries."),
        ("project_not_found", "404", "It is not a project of this organization.", "Check the id."),
        ("organization_not_found", "404", "There is no such organization.", "Check the id."),
        ("key_not_found", "404", "There is no such key in this project.", "List the project's keys."),
        ("budget_not_found", "404", "There is no such budget.", "List the budgets."),
        ("upstream_not_found", "404", "There is no upstream of that name.", "List the upstreams."),
        ("attempt_not_found", "404", "There is no such attempt of an ended video.", "Look at the video's attempts."),
        ("notice_not_found", "404", "The notice is not there, or dealt with.", "List the open notices."),
    ),
    _group(
        "Payments and webhooks",
        ("stripe_not_configured", "400", "This server takes no payments.", "The operator sets the Stripe keys."),
        ("stripe_refused", "400", "Stripe refused it.", "The message is Stripe's own."),
        ("stripe_unavailable", "503", "Stripe does not answer.", "Try again."),
        ("stripe_event_failed", "500", "An event of Stripe's could not be booked yet.", "Stripe sends it again."),
        ("no_saved_card", "400", "There is no saved card.", "Pay once with a card and let it be saved."),
        ("not_postpaid", "400", "The organization does not pay afterwards.", "This is for organizations that are billed monthly."),
        ("invoice_not_final", "400", "The invoice is not final yet.", "Wait for the end of the period."),
        ("invalid_signature", "400", "The event is not signed by Stripe.", "Check the signing secret."),
        ("invalid_event", "400", "The event cannot be read.", "Only Stripe sends these."),
        ("webhook_unreachable", "400", "The test event could not be delivered.", "The message says what the receiver answered."),
    ),
    _group(
        "The server",
        ("internal_error", "500", "Something went wrong here.", "Try again; tell the operator the x-request-id."),
        ("unavailable", "503", "Not possible at the moment.", "Try again soon."),
        ("not_ready", "503", "The server is starting, stopping, or has no model.", "The message says what is missing."),
        ("database_away", "503", "The database is away for a moment.", "Try again with the same Idempotency-Key."),
        ("storage_unavailable", "503", "Files cannot be stored or read.", "Try again."),
        ("content_unavailable", "503", "The file cannot be read just now.", "Try again."),
    ),
)  # fmt: skip

_FAILED: Final = (
    ("moderation_blocked", "The provider's rules refused the prompt or the result."),
    ("invalid_request", "The provider did not take the request."),
    ("input_media", "An input file could not be fetched or used."),
    ("out_of_memory", "It was too large for the machine."),
    ("cancelled", "It was cancelled."),
    ("expired", "It was not made before its deadline, or the provider lost it."),
    ("model_retired", "The provider no longer offers the model."),
    ("provider_unavailable", "No provider of the model could be reached."),
    ("provider_error", "The provider failed."),
    ("submission_unknown", "Nobody can tell whether the provider took it. It is not sent twice."),
    ("watermark_failed", "The visible mark could not be put on it."),
    ("provenance_failed", "The signed claim of its origin could not be put into it."),
)
FAILED: Final = tuple(Code(code, "", meaning, advice(code)) for code, meaning in _FAILED)
"""Of videos whose status is `failed`."""
