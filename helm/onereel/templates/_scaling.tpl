{{- /* Scaling by queue: (dict "root" $ "component" "jobs" "name" "reel-jobs" "role" $role "query" "..."). */ -}}
{{- define "onereel.scaling" -}}
{{- $scaling := .role.autoscaling -}}
{{- if eq $scaling.mode "keda" -}}
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  name: {{ .name }}
  labels: {{- include "onereel.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {name: {{ .name }}}
  minReplicaCount: {{ $scaling.minReplicas }}
  maxReplicaCount: {{ $scaling.maxReplicas }}
  pollingInterval: 15
  cooldownPeriod: {{ $scaling.cooldownSeconds }}
  # What runs while Prometheus does not answer.
  fallback: {failureThreshold: 4, replicas: {{ max 1 $scaling.minReplicas }}}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown: {stabilizationWindowSeconds: {{ $scaling.cooldownSeconds }}}
  triggers:
    - type: prometheus
      metricType: {{ .metricType | default "AverageValue" }}
      metadata:
        serverAddress: {{ required "keda.serverAddress: the address of Prometheus, such as http://prometheus.monitoring.svc:9090, for autoscaling.mode keda" .root.Values.keda.serverAddress }}
        query: {{ $scaling.query | default .query | quote }}
        threshold: {{ $scaling.target | quote }}
      {{- with .root.Values.keda.authenticationRef }}
      authenticationRef: {name: {{ . }}}
      {{- end }}
{{- else if eq $scaling.mode "external" -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  name: {{ .name }}
  labels: {{- include "onereel.labels" . | nindent 4 }}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: {{ .name }}}
  minReplicas: {{ max 1 $scaling.minReplicas }}
  maxReplicas: {{ $scaling.maxReplicas }}
  metrics:
    - type: External
      external:
        metric:
          name: {{ $scaling.metric }}
          {{- with .metricLabels }}
          selector:
            matchLabels: {{- toYaml . | nindent 14 }}
          {{- end }}
        {{- if eq (.metricType | default "") "Value" }}
        target: {type: Value, value: {{ $scaling.target | quote }}}
        {{- else }}
        target: {type: AverageValue, averageValue: {{ $scaling.target | quote }}}
        {{- end }}
  behavior:
    scaleDown: {stabilizationWindowSeconds: {{ min 3600 $scaling.cooldownSeconds }}}
{{- end -}}
{{- end -}}

{{- /* At most one pod away at a time: (dict "root" $ "component" "jobs" "name" "reel-jobs"). */ -}}
{{- define "onereel.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ .name }}
  labels: {{- include "onereel.labels" . | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels: {{- include "onereel.selector" . | nindent 6 }}
{{- end -}}
