{{- /* What every pod says of its security. */ -}}
{{- define "onereel.podSecurity" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "onereel.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: ["ALL"]
{{- end -}}

{{- /* Where a pod may run: (dict "root" $ "component" "api" "role" $role). */ -}}
{{- define "onereel.placement" -}}
{{- with .role.priorityClassName | default .root.Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
topologySpreadConstraints:
  {{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: {{ $.root.Values.topologySpread }}
    labelSelector:
      matchLabels: {{- include "onereel.selector" $ | nindent 8 }}
  {{- end }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .role.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .role.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .role.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* A variable from a Secret: (dict "name" "ONEREEL_X" "secret" "name" "key" "key"). */ -}}
{{- define "onereel.secretVariable" -}}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret }}
      key: {{ .key }}
{{- end -}}

{{- define "onereel.databaseVariable" -}}
{{- $secret := required "database.existingSecret: name the Secret whose key (database.key, \"url\") holds postgresql://user:password@host/name" .Values.database.existingSecret -}}
{{ include "onereel.secretVariable" (dict "name" "ONEREEL_DATABASE_URL" "secret" $secret "key" .Values.database.key) }}
{{- end -}}

{{- /* The variables of the gateway's processes: (dict "root" $ "role" $role). */ -}}
{{- define "onereel.gatewayVariables" -}}
{{- $values := .root.Values -}}
- name: ONEREEL_HOST
  value: "0.0.0.0"
- name: ONEREEL_PORT
  value: "8080"
- name: ONEREEL_DATA_DIR
  value: /data
- name: ONEREEL_CONFIG
  value: /etc/onereel/onereel.toml
- name: ONEREEL_LOCAL__ENABLED
  value: "false"
- name: ONEREEL_DRAIN_SECONDS
  value: {{ .role.drainSeconds | quote }}
- name: ONEREEL_JOBS__SHUTDOWN_GRACE_SECONDS
  value: {{ $values.shutdownGraceSeconds | quote }}
- name: ONEREEL_STORAGE_URL
  value: {{ required "storage.url: an object store that all pods share, such as s3://bucket/prefix" $values.storage.url | quote }}
- name: HOME
  value: /tmp
{{- with $values.publicUrl }}
- name: ONEREEL_PUBLIC_URL
  value: {{ . | quote }}
{{- end }}
{{ include "onereel.databaseVariable" .root }}
{{ include "onereel.secretVariable" (dict "name" "ONEREEL_SECURITY__ENCRYPTION_KEYS" "key" $values.encryptionKeys.key "secret" (required "encryptionKeys.existingSecret: name the Secret whose key (encryptionKeys.key, \"encryption-keys\") holds a JSON list of Fernet keys that all pods share" $values.encryptionKeys.existingSecret)) }}
{{- with $values.redis }}{{ if .existingSecret }}
{{ include "onereel.secretVariable" (dict "name" "ONEREEL_REDIS_URL" "secret" .existingSecret "key" .key) }}
{{- end }}{{ end }}
{{- with $values.adminKey }}{{ if .existingSecret }}
{{ include "onereel.secretVariable" (dict "name" "ONEREEL_ADMIN_KEY" "secret" .existingSecret "key" .key) }}
{{- end }}{{ end }}
{{- with $values.metrics }}{{ if .existingSecret }}
{{ include "onereel.secretVariable" (dict "name" "ONEREEL_METRICS__TOKEN" "secret" .existingSecret "key" .key) }}
{{- end }}{{ end }}
{{- with $values.stripe }}{{ if .existingSecret }}
{{ include "onereel.secretVariable" (dict "name" "ONEREEL_STRIPE__API_KEY" "secret" .existingSecret "key" .apiKeyKey) }}
{{ include "onereel.secretVariable" (dict "name" "ONEREEL_STRIPE__WEBHOOK_SECRET" "secret" .existingSecret "key" .webhookSecretKey) }}
{{- end }}{{ end }}
{{- with $values.c2pa }}{{ if .existingSecret }}
- name: ONEREEL_PROVENANCE__CERTIFICATES
  value: /etc/onereel-c2pa/{{ .certificatesKey }}
- name: ONEREEL_PROVENANCE__PRIVATE_KEY
  value: /etc/onereel-c2pa/{{ .privateKeyKey }}
{{- end }}{{ end }}
{{- if $values.workers.classes }}
{{ include "onereel.secretVariable" (dict "name" "WORKER_TOKEN" "secret" $values.workers.token.existingSecret "key" $values.workers.token.key) }}
{{- end }}
{{- with concat $values.extraEnv .role.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- /* A Deployment of the gateway: (dict "root" $ "component" "api" "role" $role "scaled" bool). */ -}}
{{- define "onereel.gateway" -}}
{{- $root := .root -}}
{{- $values := $root.Values -}}
{{- $name := include "onereel.name" $root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}-{{ .component }}
  labels: {{- include "onereel.labels" . | nindent 4 }}
spec:
  {{- if not .scaled }}
  replicas: {{ .role.replicas }}
  {{- end }}
  strategy:
    type: RollingUpdate
    rollingUpdate: {maxUnavailable: 0, maxSurge: 1}
  selector:
    matchLabels: {{- include "onereel.selector" . | nindent 6 }}
  template:
    metadata:
      labels: {{- include "onereel.labels" . | nindent 8 }}
      annotations:
        checksum/config: {{ include "onereel.toml" $root | sha256sum }}
        {{- with merge (deepCopy .role.podAnnotations) $values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      serviceAccountName: {{ include "onereel.serviceAccount" $root }}
      {{- include "onereel.podSecurity" . | nindent 6 }}
      {{- include "onereel.placement" . | nindent 6 }}
      # Draining, open answers, steps in progress, handing over, and ten seconds to spare.
      terminationGracePeriodSeconds: {{ add .role.drainSeconds 5 $values.shutdownGraceSeconds 15 10 }}
      containers:
        - name: {{ .component }}
          image: {{ include "onereel.image" (dict "root" $root "image" $values.image) }}
          imagePullPolicy: {{ $values.image.pullPolicy }}
          command: ["onereel", "serve", "--roles", {{ .component | quote }}, "--workers", {{ .role.workers | quote }}]
          env: {{- include "onereel.gatewayVariables" . | nindent 12 }}
          {{- with compact (concat $values.envFromSecrets (list $values.storage.existingSecret)) }}
          envFrom:
            {{- range . }}
            - secretRef: {name: {{ . }}}
            {{- end }}
          {{- end }}
          ports:
            - {name: http, containerPort: 8080}
          startupProbe:
            httpGet: {path: /health/live, port: http}
            periodSeconds: 2
            failureThreshold: 60
          livenessProbe:
            httpGet: {path: /health/live, port: http}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: {path: /health/ready, port: http}
            periodSeconds: 5
            timeoutSeconds: 5
          resources: {{- toYaml .role.resources | nindent 12 }}
          {{- include "onereel.containerSecurity" . | nindent 10 }}
          volumeMounts:
            - {name: data, mountPath: /data}
            - {name: tmp, mountPath: /tmp}
            - {name: config, mountPath: /etc/onereel, readOnly: true}
            {{- if $values.c2pa.existingSecret }}
            - {name: c2pa, mountPath: /etc/onereel-c2pa, readOnly: true}
            {{- end }}
      volumes:
        - name: data
          emptyDir: {sizeLimit: {{ .role.dataSize }}}
        - name: tmp
          emptyDir: {sizeLimit: {{ .role.tmpSize }}}
        - name: config
          configMap: {name: {{ $name }}}
        {{- if $values.c2pa.existingSecret }}
        - name: c2pa
          secret: {secretName: {{ $values.c2pa.existingSecret }}, defaultMode: 288}
        {{- end }}
{{- end -}}
