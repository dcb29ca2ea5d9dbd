"""What the chart uses of resources that Kubernetes does not bring, as their public API references describe them.

No package carries these schemas. Strict: a field that is not named here is an error, so a new one has to be looked up
first (monitoring.coreos.com/v1 and keda.sh/v1alpha1 at their projects, gateway.networking.k8s.io/v1 at Kubernetes').
"""

from typing import Any, Final

Schema = dict[str, Any]

_TEXT: Final[Schema] = {"type": "string", "minLength": 1}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_TEXTS: Final[Schema] = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION: Final[Schema] = {"type": "string", "pattern": r"^(0|([0-9]+(ms|s|m|h|d|w|y))+)$"}


def _object(required: Schema, **optional: Any) -> Schema:
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": sorted(required),
        "additionalProperties": False,
    }


def _list(of: Schema, least: int = 1) -> Schema:
    return {"type": "array", "items": of, "minItems": least}


def _resource(api_version: str, kind: str, spec: Schema) -> Schema:
    metadata = _object({"name": _TEXT, "labels": _TEXTS}, annotations=_TEXTS)
    return _object(
        {"apiVersion": {"const": api_version}, "kind": {"const": kind}, "metadata": metadata, "spec": spec}
    )


_EXPRESSION: Final = _object(
    {"key": _TEXT, "operator": {"enum": ["In", "NotIn", "Exists", "DoesNotExist"]}}, values=_list(_TEXT)
)
_ENDPOINT: Final = _object(
    {
        "port": _TEXT,
        "path": {"type": "string", "pattern": "^/"},
        "interval": _DURATION,
        "authorization": _object(
            {"type": {"const": "Bearer"}, "credentials": _object({"name": _TEXT, "key": _TEXT})}
        ),
    }
)
_RULE: Final = _object(
    {"expr": _TEXT},
    **{"alert": _TEXT, "record": _TEXT, "for": _DURATION, "keep_firing_for": _DURATION},
    labels=_TEXTS,
    annotations=_TEXTS,
)
_BEHAVIOR: Final = _object(
    {"scaleDown": _object({"stabilizationWindowSeconds": {**_COUNT, "maximum": 3600}})}
)
_TRIGGER: Final = _object(
    {
        "type": {"const": "prometheus"},
        "metadata": _object(
            {
                "serverAddress": {"type": "string", "pattern": "^https?://"},
                "query": _TEXT,
                "threshold": {"type": "string", "pattern": r"^[0-9.]+$"},
            }
        ),
    },
    metricType={"enum": ["AverageValue", "Value"]},
    authenticationRef=_object({"name": _TEXT}),
)
_PARENT: Final = _object(
    {"name": _TEXT},
    namespace=_TEXT,
    sectionName=_TEXT,
    group={"type": "string"},
    kind=_TEXT,
    port=_COUNT,
)
_MATCH: Final = _object(
    {
        "path": _object(
            {"type": {"enum": ["PathPrefix", "Exact"]}, "value": {"type": "string", "pattern": "^/"}}
        )
    }
)
_ROUTE: Final = _object(
    {"backendRefs": _list(_object({"name": _TEXT, "port": {"type": "integer", "minimum": 1}}))},
    matches=_list(_MATCH),
    timeouts=_object({"request": {"type": "string", "pattern": "^([0-9]{1,5}(h|m|s|ms)){1,4}$"}}),
)

SCHEMAS: Final[dict[str, Schema]] = {
    "ServiceMonitor": _resource(
        "monitoring.coreos.com/v1",
        "ServiceMonitor",
        _object(
            {
                "endpoints": _list(_ENDPOINT),
                "selector": _object({}, matchLabels=_TEXTS, matchExpressions=_list(_EXPRESSION)),
            }
        ),
    ),
    "PrometheusRule": _resource(
        "monitoring.coreos.com/v1",
        "PrometheusRule",
        _object({"groups": _list(_object({"name": _TEXT, "rules": _list(_RULE)}, interval=_DURATION))}),
    ),
    "ScaledObject": _resource(
        "keda.sh/v1alpha1",
        "ScaledObject",
        _object(
            {"scaleTargetRef": _object({"name": _TEXT}), "triggers": _list(_TRIGGER)},
            minReplicaCount=_COUNT,
            maxReplicaCount=_COUNT,
            pollingInterval=_COUNT,
            cooldownPeriod=_COUNT,
            fallback=_object({"failureThreshold": _COUNT, "replicas": _COUNT}),
            advanced=_object({"horizontalPodAutoscalerConfig": _object({"behavior": _BEHAVIOR})}),
        ),
    ),
    "HTTPRoute": _resource(
        "gateway.networking.k8s.io/v1",
        "HTTPRoute",
        _object({"parentRefs": _list(_PARENT), "rules": _list(_ROUTE)}, hostnames=_list(_TEXT)),
    ),
}
