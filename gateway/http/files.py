"""/v1/files: upload, list, read, download and delete input files, in OpenAI's shape."""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from litestar import Controller, HttpMethod, Request, Response, delete, get, post, route
from litestar.di import NamedDependency
from litestar.params import PathParameter, QueryParameter
from litestar.response.base import ASGIResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import BadRequest
from gateway.files.service import PURPOSES, FileService, NewFile, public_file
from gateway.http.auth import requires
from gateway.http.body import Body, UploadedFile, read_body
from gateway.http.download import Download
from gateway.http.errors import field_error
from gateway.http.openapi import documented
from gateway.http.pagination import AfterParameter, OrderParameter, list_envelope, newest_first
from gateway.idempotency.service import Idempotency, claim_of
from gateway.principal import Principal, Scope
from gateway.settings import Settings
from gateway.storage import Storage
from gateway.videos.content import ContentFile

_MAX_PAGE: Final = 10_000
Purpose = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]

FileId = Annotated[str, PathParameter(description="The file's id.")]


class ExpiresAfter(BaseModel):
    """When to remove the file: `seconds` after its creation, one hour to thirty days."""

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=2_592_000)


class FileForm(BaseModel):
    """The upload."""

    file: UploadedFile
    purpose: Purpose
    expires_after: ExpiresAfter | None = None


class File(BaseModel):
    """One file. Times are unix seconds."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: Purpose
    status: Literal["processed"] = "processed"


class FileList(BaseModel):
    """One page of files."""

    object: Literal["list"] = "list"
    data: list[File]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedFile(BaseModel):
    """What is left of a deleted file."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class FilesController(Controller):
    """Input files of the caller's project."""

    path = "/v1/files"
    tags = ["files"]

    @post(
        opt=requires(Scope.FILES_WRITE),
        operation_class=documented(body=FileForm, answer=File),
        summary="Upload a file",
        status_code=200,
    )
    async def upload(
        self,
        *,
        request: Request[Any, Any, Any],
        principal: NamedDependency[Principal],
        files: NamedDependency[FileService],
        idempotency: NamedDependency[Idempotency],
        settings: NamedDependency[Settings],
        upload_dir: NamedDependency[Path],
    ) -> Response[dict[str, Any]]:
        """Keep a file. Images and videos are decoded first; anything else is kept unread."""
        limits = settings.limits
        async with read_body(request, limits, upload_dir, max_files=1) as body:
            new = _new_file(body)
            key = request.headers.get("idempotency-key")
            claim = claim_of(principal.project_id, "POST", self.path, key, body.hash)
            status, answer = await idempotency.run(
                claim, lambda: files.create(principal.project_id, new, claim)
            )
        return Response(answer, status_code=status)

    @get(
        opt=requires(Scope.FILES_READ),
        operation_class=documented(answer=FileList),
        summary="List files",
    )
    async def list_files(
        self,
        *,
        principal: NamedDependency[Principal],
        files: NamedDependency[FileService],
        limit: Annotated[int, QueryParameter(ge=1, le=_MAX_PAGE)] = _MAX_PAGE,
        after: AfterParameter = None,
        order: OrderParameter = "desc",
        purpose: Annotated[str | None, QueryParameter(schema_extra={"enum": list(PURPOSES)})] = None,
    ) -> dict[str, Any]:
        """List the project's files, newest first."""
        if purpose is not None and purpose not in PURPOSES:
            raise BadRequest(
                f"Invalid value for 'purpose': use one of {', '.join(PURPOSES)}.", param="purpose"
            )
        rows, more = await files.list_files(
            principal.project_id, limit=limit, after=after, descending=newest_first(order), purpose=purpose
        )
        return list_envelope([public_file(row) for row in rows], has_more=more)

    @get(
        "/{file_id:str}",
        opt=requires(Scope.FILES_READ),
        operation_class=documented(answer=File),
        summary="Retrieve a file",
    )
    async def retrieve(
        self, file_id: FileId, principal: NamedDependency[Principal], files: NamedDependency[FileService]
    ) -> dict[str, Any]:
        """Show one file."""
        return public_file(await files.retrieve(principal.project_id, file_id))

    @delete(
        "/{file_id:str}",
        opt=requires(Scope.FILES_WRITE),
        operation_class=documented(answer=DeletedFile),
        summary="Delete a file",
        status_code=200,
    )
    async def remove(
        self, file_id: FileId, principal: NamedDependency[Principal], files: NamedDependency[FileService]
    ) -> dict[str, Any]:
        """Delete a file and its bytes."""
        await files.delete(principal.project_id, file_id)
        return {"id": file_id, "object": "file", "deleted": True}

    @route(
        "/{file_id:str}/content",
        http_method=[HttpMethod.GET, HttpMethod.HEAD],
        opt=requires(Scope.FILES_READ),
        operation_class=documented(media=("*/*",)),
        summary="Download a file",
        status_code=200,
    )
    async def content(
        self,
        *,
        request: Request[Any, Any, Any],
        file_id: FileId,
        principal: NamedDependency[Principal],
        files: NamedDependency[FileService],
        storage: NamedDependency[Storage],
    ) -> ASGIResponse:
        """Stream the file back, whole or a single byte range."""
        row = await files.retrieve(principal.project_id, file_id)
        found = ContentFile(
            row["storage_key"], row["bytes"], row["sha256"], row["media_type"], row["filename"]
        )
        return Download(storage, found, request)


def _new_file(body: Body) -> NewFile:
    if not isinstance(body.fields.get("file"), UploadedFile):
        raise BadRequest(
            "Missing required parameter: 'file'. Send it as a file part of multipart/form-data.",
            param="file",
            code="missing_required_parameter",
        )
    try:
        form = FileForm.model_validate(body.fields)
    except ValidationError as error:
        raise field_error(error) from error
    upload, expiry = form.file, form.expires_after
    return NewFile(
        upload.path, upload.size, upload.filename, form.purpose, None if expiry is None else expiry.seconds
    )
