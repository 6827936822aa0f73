{{/* The container's environment. Kubernetes would expand $(NAME) in a value: $$( is a plain $( */}}
{{- define "spotify-api-server.environment" -}}
{{ include "spotify-api-server.ownEnvironment" . }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.ownEnvironment" -}}
{{- range $setting, $name := dict "clientId" "CLIENT_ID" "clientSecret" "CLIENT_SECRET" "secretKey" "SECRET_KEY" "redirectUri" "REDIRECT_URI" "secretKeysPrevious" "SECRET_KEYS_PREVIOUS" }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ include "spotify-api-server.secretName" $ }}
      key: {{ get $.Values.spotify.keys $setting }}
      {{- if has $setting (list "redirectUri" "secretKeysPrevious") }}
      optional: true
      {{- end }}
{{- end }}
{{- if include "spotify-api-server.sharedLimit" . }}
- name: RATE_LIMIT_STORAGE
  valueFrom:
    secretKeyRef:
      name: {{ include "spotify-api-server.rateLimitSecretName" . }}
      key: {{ .Values.rateLimit.storage.key }}
{{- end }}
{{- if include "spotify-api-server.upstreamProxy" . }}
- name: UPSTREAM_PROXY
  valueFrom:
    secretKeyRef:
      name: {{ include "spotify-api-server.upstreamProxySecretName" . }}
      key: {{ .Values.upstreamProxy.key }}
{{- end }}
{{- range $name, $value := include "spotify-api-server.settings" . | fromYaml }}
- name: {{ $name }}
  value: {{ $value | replace "$(" "$$(" | quote }}
{{- end }}
{{- if .Values.otel.enabled }}
{{- range $name, $path := dict "NODE_NAME" "spec.nodeName" "POD_NAME" "metadata.name" "POD_UID" "metadata.uid" }}
- name: {{ $name }}
  valueFrom:
    fieldRef:
      fieldPath: {{ $path }}
{{- end }}
{{- /* After the names that it is made of: Kubernetes expands only what is defined before. */}}
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ include "spotify-api-server.resourceAttributes" . | quote }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.settings" -}}
HOST: {{ .Values.config.host | quote }}
PORT: "8080"
METRICS_PORT: {{ .Values.metrics.enabled | ternary "9464" "0" | quote }}
{{- with .Values.config }}
LOG_LEVEL: {{ .logLevel | quote }}
{{- with .logFormat }}
LOG_FORMAT: {{ . | quote }}
{{- end }}
{{- with .basePath }}
BASE_PATH: {{ . | quote }}
{{- end }}
{{- with .publicUrl }}
PUBLIC_URL: {{ . | quote }}
{{- end }}
DRAIN_SECONDS: {{ .drainSeconds | quote }}
UPSTREAM_TIMEOUT: {{ .upstreamTimeout | quote }}
UPSTREAM_MAX_IN_FLIGHT: {{ int .upstreamMaxInFlight | quote }}
REQUEST_TIMEOUT: {{ .requestTimeout | quote }}
SPOTIFY_TOKEN_URL: {{ .spotifyTokenUrl | quote }}
ALLOW_INSECURE_UPSTREAM: {{ .allowInsecureUpstream | quote }}
CLIENT_CREDENTIALS_ENABLED: {{ .clientCredentialsEnabled | quote }}
CLIENT_CREDENTIALS_CACHE: {{ .clientCredentialsCache | quote }}
DOCS: {{ .docs | quote }}
{{- with .spotifyAuthorizeUrl }}
SPOTIFY_AUTHORIZE_URL: {{ . | quote }}
{{- end }}
{{- with .corsAllowOrigins }}
CORS_ALLOW_ORIGINS: {{ join "," . | quote }}
{{- end }}
{{- with .allowedRedirectUris }}
ALLOWED_REDIRECT_URIS: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- with .Values.rateLimit }}
{{- with .limit }}
RATE_LIMIT: {{ . | quote }}
{{- end }}
{{- with .trustedProxies }}
TRUSTED_PROXIES: {{ join "," . | quote }}
{{- end }}
{{- end }}
{{- if .Values.otel.enabled }}
{{- with .Values.otel }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ .endpoint | quote }}
OTEL_EXPORTER_OTLP_PROTOCOL: {{ .protocol | quote }}
OTEL_TRACES_SAMPLER: {{ .sampler | quote }}
OTEL_TRACES_SAMPLER_ARG: {{ .samplerArg | quote }}
{{- end }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.resourceAttributes" -}}
k8s.namespace.name={{ .Release.Namespace }},k8s.deployment.name={{ include "spotify-api-server.fullname" . -}}
,k8s.node.name=$(NODE_NAME),k8s.pod.name=$(POD_NAME),k8s.pod.uid=$(POD_UID),service.instance.id=$(POD_UID)
{{- range $name, $value := .Values.otel.resourceAttributes }},{{ $name }}={{ $value }}{{ end }}
{{- end }}
