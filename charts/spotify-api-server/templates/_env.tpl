{{/* Environment of the container, in the order of values.yaml. In a value, Kubernetes replaces $(NAME)
by an earlier variable; $$(NAME) is the text $(NAME). */}}

{{- define "spotify-api-server.env" -}}
{{- include "spotify-api-server.credentialsEnv" . }}
{{- include "spotify-api-server.configEnv" . }}
{{- with .Values.rateLimit.limit }}
- name: RATE_LIMIT
  value: {{ . | quote }}
{{- end }}
{{- with .Values.rateLimit.trustedProxies }}
- name: TRUSTED_PROXIES
  value: {{ join "," . | quote }}
{{- end }}
{{- if include "spotify-api-server.rateLimitPort" . }}
{{- include "spotify-api-server.secretEnv" (dict "root" . "name" "RATE_LIMIT_STORAGE"
  "file" .Values.rateLimit.storage.file
  "secret" (include "spotify-api-server.rateLimitSecretName" .) "key" .Values.rateLimit.storage.key) }}
{{- end }}
{{- with .Values.upstreamProxy }}
{{- if or .url .existingSecret .file }}
{{- include "spotify-api-server.secretEnv" (dict "root" $ "name" "UPSTREAM_PROXY" "file" .file
  "secret" (include "spotify-api-server.upstreamProxySecretName" $) "key" .key) }}
{{- end }}
{{- end }}
{{- if .Values.otel.enabled }}
{{- include "spotify-api-server.otelEnv" . }}
{{- end }}
- name: PORT
  value: "8080"
- name: METRICS_PORT
  {{- if .Values.metrics.enabled }}
  value: "9464"
  {{- else }}
  value: "0"
  {{- end }}
{{- end }}

{{- define "spotify-api-server.credentialsEnv" -}}
{{- $secret := dict "root" . "secret" (include "spotify-api-server.secretName" .) }}
{{- with .Values.spotify }}
{{- include "spotify-api-server.secretEnv" (merge (dict "name" "CLIENT_ID" "file" .files.clientId "key" .keys.clientId) $secret) }}
{{- include "spotify-api-server.secretEnv" (merge (dict "name" "CLIENT_SECRET" "file" .files.clientSecret "key" .keys.clientSecret) $secret) }}
{{- include "spotify-api-server.secretEnv" (merge (dict "name" "SECRET_KEY" "file" .files.secretKey "key" .keys.secretKey) $secret) }}
{{- if include "spotify-api-server.previousKeys" $ }}
{{- include "spotify-api-server.secretEnv" (merge (dict "name" "SECRET_KEYS_PREVIOUS" "file" .files.secretKeysPrevious "key" .keys.secretKeysPrevious "optional" true) $secret) }}
{{- end }}
{{- if .redirectUri }}
- name: REDIRECT_URI
  value: {{ .redirectUri | replace "$(" "$$(" | quote }}
{{- else if .files.redirectUri }}
- name: REDIRECT_URI_FILE
  value: {{ .files.redirectUri | quote }}
{{- else if not (or .clientId (include "spotify-api-server.fromFiles" $)) }}
- name: REDIRECT_URI
  valueFrom:
    secretKeyRef:
      name: {{ include "spotify-api-server.secretName" $ | quote }}
      key: {{ .keys.redirectUri | quote }}
      optional: true
{{- end }}
{{- end }}
{{- end }}

{{/* Not empty if the credentials are files from other sources. */}}
{{- define "spotify-api-server.fromFiles" -}}
{{- with .Values.spotify.files }}{{ or .clientId .clientSecret .secretKey }}{{ end }}
{{- end }}

{{/* Not empty if there are, or in a Secret that is not the chart's can be, previous secret keys. */}}
{{- define "spotify-api-server.previousKeys" -}}
{{- with .Values.spotify }}
{{- if .clientId }}{{ with .secretKeysPrevious }}values{{ end }}
{{- else if include "spotify-api-server.fromFiles" $ }}{{ .files.secretKeysPrevious }}
{{- else }}{{ .keys.secretKeysPrevious }}
{{- end }}
{{- end }}
{{- end }}

{{/* A variable whose value is secret: a file, a file in the volume "secrets", or a key of a Secret.
Arguments: root, name, file, secret, key, optional. */}}
{{- define "spotify-api-server.secretEnv" -}}
{{- if .file }}
- name: {{ .name }}_FILE
  value: {{ .file | quote }}
{{- else if .root.Values.spotify.mountAsFiles }}
- name: {{ .name }}_FILE
  value: /etc/spotify-api-server/secrets/{{ .name | lower | replace "_" "-" }}
{{- else }}
- name: {{ .name }}
  valueFrom:
    secretKeyRef:
      name: {{ .secret | quote }}
      key: {{ .key | quote }}
      {{- if .optional }}
      optional: true
      {{- end }}
{{- end }}
{{- end }}

{{/* Sources of the volume "secrets", whose files secretEnv names. */}}
{{- define "spotify-api-server.secretSources" -}}
{{- with .Values.spotify }}
{{- if not (include "spotify-api-server.fromFiles" $) }}
- secret:
    name: {{ include "spotify-api-server.secretName" $ | quote }}
    items:
      - {key: {{ .keys.clientId | quote }}, path: client-id}
      - {key: {{ .keys.clientSecret | quote }}, path: client-secret}
      - {key: {{ .keys.secretKey | quote }}, path: secret-key}
      {{- if include "spotify-api-server.previousKeys" $ }}
      - {key: {{ .keys.secretKeysPrevious | quote }}, path: secret-keys-previous}
      {{- end }}
{{- end }}
{{- end }}
{{- with .Values.rateLimit.storage }}
{{- if or .url .existingSecret }}
- secret:
    name: {{ include "spotify-api-server.rateLimitSecretName" $ | quote }}
    items: [{key: {{ .key | quote }}, path: rate-limit-storage}]
{{- end }}
{{- end }}
{{- with .Values.upstreamProxy }}
{{- if or .url .existingSecret }}
- secret:
    name: {{ include "spotify-api-server.upstreamProxySecretName" $ | quote }}
    items: [{key: {{ .key | quote }}, path: upstream-proxy}]
{{- end }}
{{- end }}
{{- end }}

{{/* drainSeconds: 5 → DRAIN_SECONDS=5; maps are in alphabetical order. */}}
{{- define "spotify-api-server.configEnv" -}}
{{- range $name, $value := .Values.config }}
{{- if kindIs "invalid" $value }}
{{- $value = "" }}
{{- else if kindIs "slice" $value }}
{{- $value = join "," $value }}
{{- else if eq $name "publicUrl" }}
{{- $value = include "spotify-api-server.publicUrl" $ }}
{{- end }}
{{- with toString $value }}
- name: {{ snakecase $name | upper }}
  value: {{ . | replace "$(" "$$(" | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.otelEnv" -}}
{{- if contains "$(HOST_IP)" .Values.otel.endpoint }}
- name: HOST_IP
  valueFrom: {fieldRef: {fieldPath: status.hostIP}}
{{- end }}
- name: NODE_NAME
  valueFrom: {fieldRef: {fieldPath: spec.nodeName}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .Values.otel.endpoint | replace "$(" "$$(" | replace "$$(HOST_IP)" "$(HOST_IP)" | quote }}
- name: OTEL_EXPORTER_OTLP_PROTOCOL
  value: {{ .Values.otel.protocol | quote }}
- name: OTEL_TRACES_SAMPLER
  value: {{ .Values.otel.sampler | quote }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .Values.otel.samplerArg | quote }}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ include "spotify-api-server.resourceAttributes" . | quote }}
{{- end }}

{{- define "spotify-api-server.resourceAttributes" -}}
k8s.namespace.name={{ include "spotify-api-server.namespace" . }},k8s.deployment.name={{ include "spotify-api-server.fullname" . -}}
,k8s.node.name=$(NODE_NAME),k8s.pod.name=$(POD_NAME),k8s.pod.uid=$(POD_UID),k8s.container.name={{ include "spotify-api-server.containerName" . }},service.instance.id=$(POD_UID)
{{- range $name, $value := .Values.otel.resourceAttributes }},{{ $name }}={{ $value }}{{ end }}
{{- end }}
