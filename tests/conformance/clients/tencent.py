"""The package tencentcloud-sdk-python-vod, whose signature the fake checks."""

import time
from typing import Any, ClassVar

from tencentcloud.common.credential import Credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.vod.v20180717 import models
from tencentcloud.vod.v20180717.vod_client import VodClient

from tests.conformance.official import Ended, OfficialClient, fetched
from tests.fakes.tencent import SUB_APP_ID


class TencentVOD(OfficialClient):
    """`CreateAigcVideoTask` and `DescribeTaskDetail`; the client knows no path but "/", which is set here."""

    provider = "tencent"
    success = "FINISH"
    ends: ClassVar = {
        "failed": ("FINISH", "ModelGenerateFailed"),
        "moderation": ("FINISH", "ContentModerationFailed"),
        "expired": ("FINISH", "TaskTimeout"),
        "cancelled": ("FINISH", "OperationCanceled"),
    }
    refusals: ClassVar = {
        "auth": ("TencentCloudSDKException", "AuthFailure.SignatureFailure"),
        "rate_limited": ("TencentCloudSDKException", "RequestLimitExceeded"),
        "concurrency": ("TencentCloudSDKException", "RequestLimitExceeded.JobNumExceed"),
        "invalid": ("TencentCloudSDKException", "InvalidParameterValue"),
        "moderation_submit": ("TencentCloudSDKException", "InvalidParameter.VoilationContent"),
        "server_error": ("TencentCloudSDKException", "InternalError"),
        "lost": ("TencentCloudSDKException", "InvalidParameterValue.TaskId"),
    }

    def __init__(self, origin: str, credential: str) -> None:
        super().__init__(origin, credential)
        endpoint = origin.removeprefix("http://")
        profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=endpoint))
        self._client: Any = VodClient(Credential(*credential.split(":")), "ap-guangzhou", profile)
        self._client._requestPath = "/tencent/"
        self._client.request._handle_host = lambda host: f"http://{host}/tencent/"

    def make(self, prompt: str) -> Ended:
        """Create a task, then describe it: it has no helper that waits."""
        order = {
            "SubAppId": SUB_APP_ID,
            "ModelName": "Kling",
            "ModelVersion": "3.0",
            "Prompt": prompt,
            "OutputConfig": {
                "StorageMode": "Temporary",
                "Resolution": "720P",
                "AspectRatio": "16:9",
                "Duration": 5,
            },
        }
        created = self._client.CreateAigcVideoTask(_model("CreateAigcVideoTaskRequest", order))
        asked = _model("DescribeTaskDetailRequest", {"SubAppId": SUB_APP_ID, "TaskId": created.TaskId})
        shown = self._client.DescribeTaskDetail(asked)
        while shown.Status in {"WAITING", "PROCESSING"}:
            time.sleep(0.05)
            shown = self._client.DescribeTaskDetail(asked)
        task = shown.AigcVideoTask
        if task.ErrCode:
            return Ended(shown.Status, f"{task.ErrCodeExt}: {task.Message}")
        return Ended(shown.Status, video=fetched(task.Output.FileInfos[0].FileUrl))


def _model(name: str, fields: dict[str, Any]) -> Any:
    made = getattr(models, name)()
    made._deserialize(fields)
    return made
