{{- define "spotify-api-server.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* 52 characters, so that there is room for what is added to it. */}}
{{- define "spotify-api-server.fullname" -}}
{{- $name := include "spotify-api-server.name" . -}}
{{- $joined := contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name) -}}
{{ default $joined .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "spotify-api-server.serviceAccountName" -}}
{{ default (.Values.serviceAccount.create | ternary (include "spotify-api-server.fullname" .) "default") .Values.serviceAccount.name }}
{{- end }}

{{- define "spotify-api-server.secretName" -}}
{{ default (include "spotify-api-server.fullname" .) .Values.spotify.existingSecret }}
{{- end }}

{{/* Something, if the pods count requests together. */}}
{{- define "spotify-api-server.sharedLimit" -}}
{{ or .Values.rateLimit.storage.url .Values.rateLimit.storage.existingSecret }}
{{- end }}

{{- define "spotify-api-server.rateLimitSecretName" -}}
{{ default (printf "%s-rate-limit" (include "spotify-api-server.fullname" .)) .Values.rateLimit.storage.existingSecret }}
{{- end }}

{{/* Not empty if calls to Spotify go through a proxy. */}}
{{- define "spotify-api-server.upstreamProxy" -}}
{{ or .Values.upstreamProxy.url .Values.upstreamProxy.existingSecret }}
{{- end }}

{{- define "spotify-api-server.upstreamProxySecretName" -}}
{{ default (printf "%s-proxy" (include "spotify-api-server.fullname" .)) .Values.upstreamProxy.existingSecret }}
{{- end }}

{{- define "spotify-api-server.image" -}}
{{- with .Values.image -}}
{{ with .registry }}{{ . }}/{{ end }}{{ .repository }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ default $.Chart.AppVersion .tag }}{{ end }}
{{- end }}
{{- end }}

{{/* What the chart says of itself wins over labels that are the operator's: others select by it. */}}
{{- define "spotify-api-server.labels" -}}
{{- $ours := dict
  "helm.sh/chart" (printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_")
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service -}}
{{ merge (include "spotify-api-server.instanceLabels" . | fromYaml) $ours .Values.commonLabels | toYaml }}
{{- end }}

{{- define "spotify-api-server.podLabels" -}}
{{ merge (include "spotify-api-server.selectorLabels" . | fromYaml) .Values.podLabels .Values.commonLabels | toYaml }}
{{- end }}

{{- define "spotify-api-server.instanceLabels" -}}
app.kubernetes.io/name: {{ include "spotify-api-server.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{/* The component keeps the pod of `helm test` out of the Service. */}}
{{- define "spotify-api-server.selectorLabels" -}}
{{ include "spotify-api-server.instanceLabels" . }}
app.kubernetes.io/component: server
{{- end }}

{{/* The number of replicas that are there at least. */}}
{{- define "spotify-api-server.minReplicas" -}}
{{ .Values.autoscaling.enabled | ternary .Values.autoscaling.minReplicas .Values.replicaCount | int }}
{{- end }}

{{/* The port of a URL. */}}
{{- define "spotify-api-server.port" -}}
{{- $parts := urlParse . -}}
{{ regexFind ":[0-9]+$" $parts.host | trimPrefix ":" | default (eq $parts.scheme "https" | ternary 443 80) }}
{{- end }}

{{/* The port of the storage in which the pods count requests. */}}
{{- define "spotify-api-server.rateLimitPort" -}}
{{- with .Values.rateLimit.storage }}
{{- if .url -}}
{{ regexFind ":[0-9]+(/[0-9]*)?$" .url | regexFind "[0-9]+" | default "6379" }}
{{- else -}}
{{ .port }}
{{- end }}
{{- end }}
{{- end }}

{{/* The port to which calls to Spotify go: the proxy's, if there is one. */}}
{{- define "spotify-api-server.upstreamPort" -}}
{{- with .Values.upstreamProxy }}
{{- if .url -}}
{{ regexFind ":[0-9]+/?$" .url | regexFind "[0-9]+" }}
{{- else if .existingSecret -}}
{{ .port }}
{{- else -}}
{{ include "spotify-api-server.port" $.Values.config.spotifyTokenUrl }}
{{- end }}
{{- end }}
{{- end }}

{{/* The base URL as clients see it; inside the cluster, if nothing leads there from outside. */}}
{{- define "spotify-api-server.url" -}}
{{- $inside := printf "http://%s.%s:%v" (include "spotify-api-server.fullname" .) .Release.Namespace .Values.service.port | trimSuffix ":80" -}}
{{ include "spotify-api-server.outside" . | default (print $inside .Values.config.basePath) }}
{{- end }}

{{- define "spotify-api-server.outside" -}}
{{- if .Values.config.publicUrl -}}
{{ trimSuffix "/" .Values.config.publicUrl }}
{{- else if and .Values.httpRoute.enabled .Values.httpRoute.hostnames -}}
https://{{ first .Values.httpRoute.hostnames }}{{ .Values.config.basePath }}
{{- else if .Values.ingress.enabled -}}
{{ empty .Values.ingress.tls | ternary "http" "https" }}://{{ first .Values.ingress.hosts }}{{ .Values.config.basePath }}
{{- end }}
{{- end }}
