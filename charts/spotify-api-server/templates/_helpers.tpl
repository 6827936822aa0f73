{{/* Names */}}

{{- define "spotify-api-server.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* The chart's name or alias; an alias may have upper-case letters and underscores. */}}
{{- define "spotify-api-server.containerName" -}}
{{ .Chart.Name | lower | replace "_" "-" | replace "." "-" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* At most 52 characters: suffixes such as "-rate-limit" follow, and names end at 63. */}}
{{- define "spotify-api-server.fullname" -}}
{{- $name := include "spotify-api-server.name" . }}
{{- $fullname := printf "%s-%s" .Release.Name $name }}
{{- if contains $name .Release.Name }}
{{- $fullname = .Release.Name }}
{{- end }}
{{- default $fullname .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "spotify-api-server.namespace" -}}
{{ default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{- define "spotify-api-server.serviceAccountName" -}}
{{- if .Values.serviceAccount.name -}}
{{ .Values.serviceAccount.name }}
{{- else if .Values.serviceAccount.create -}}
{{ include "spotify-api-server.fullname" . }}
{{- else -}}
default
{{- end }}
{{- end }}

{{- define "spotify-api-server.secretName" -}}
{{ default (include "spotify-api-server.fullname" .) .Values.spotify.existingSecret }}
{{- end }}

{{- define "spotify-api-server.rateLimitSecretName" -}}
{{ default (printf "%s-rate-limit" (include "spotify-api-server.fullname" .)) .Values.rateLimit.storage.existingSecret }}
{{- end }}

{{- define "spotify-api-server.upstreamProxySecretName" -}}
{{ default (printf "%s-proxy" (include "spotify-api-server.fullname" .)) .Values.upstreamProxy.existingSecret }}
{{- end }}

{{/* Labels and annotations */}}

{{/* Metadata of an object. Arguments: root, name, values (namespace, labels, annotations and
component of the object). */}}
{{- define "spotify-api-server.metadata" -}}
{{- $common := .root.Values -}}
name: {{ .name | quote }}
namespace: {{ default (include "spotify-api-server.namespace" .root) .values.namespace | quote }}
labels:
  {{- include "spotify-api-server.chartLabels" .root | nindent 2 }}
  {{- with .values.component }}
  app.kubernetes.io/component: {{ . }}
  {{- end }}
  {{- include "spotify-api-server.customLabels" (list .values.labels $common.commonLabels) | nindent 2 }}
{{- with merge (dict) (default dict .values.annotations) (default dict $common.commonAnnotations) }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.chartLabels" -}}
{{ include "spotify-api-server.instanceLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{/* Labels of users, from a list of maps in which the first wins, without those that the chart sets. */}}
{{- define "spotify-api-server.customLabels" -}}
{{- $labels := dict }}
{{- range . }}
{{- $labels = merge $labels (default dict .) }}
{{- end }}
{{- with omit $labels "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "helm.sh/chart" }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.instanceLabels" -}}
app.kubernetes.io/name: {{ include "spotify-api-server.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The component excludes the pod of `helm test`. */}}
{{- define "spotify-api-server.selectorLabels" -}}
{{ include "spotify-api-server.instanceLabels" . }}
app.kubernetes.io/component: server
{{- end }}

{{/* Image */}}

{{- define "spotify-api-server.registry" -}}
{{ default .Values.image.registry .Values.global.imageRegistry }}
{{- end }}

{{- define "spotify-api-server.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag }}
{{- if not (kindIs "string" $tag) }}
{{- $tag = int64 $tag }}
{{- end }}
{{- with include "spotify-api-server.registry" . }}{{ . }}/{{ end }}
{{- .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ $tag }}{{ end }}
{{- end }}

{{- define "spotify-api-server.imagePullSecrets" -}}
{{- range concat (default list .Values.global.imagePullSecrets) (default list .Values.imagePullSecrets) }}
{{- if kindIs "string" . }}
- name: {{ . | quote }}
{{- else }}
- {{ toYaml . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Numbers */}}

{{/* Smallest and largest number of pods; from 1 to 2 if another controller decides. */}}
{{- define "spotify-api-server.minReplicas" -}}
{{- if .Values.autoscaling.enabled -}}
{{ int .Values.autoscaling.minReplicas }}
{{- else if kindIs "invalid" .Values.replicaCount -}}
1
{{- else -}}
{{ int .Values.replicaCount }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.maxReplicas" -}}
{{- if .Values.autoscaling.enabled -}}
{{ int .Values.autoscaling.maxReplicas }}
{{- else if kindIs "invalid" .Values.replicaCount -}}
2
{{- else -}}
{{ int .Values.replicaCount }}
{{- end }}
{{- end }}

{{/* A Kubernetes quantity in thousandths: 500 for "500m" and for 0.5. */}}
{{- define "spotify-api-server.milli" -}}
{{- $factors := dict "m" 1 "" 1000 "k" 1000000 "M" 1000000000 "G" 1000000000000 "T" 1000000000000000
  "Ki" 1024000 "Mi" 1048576000 "Gi" 1073741824000 "Ti" 1099511627776000 }}
{{- $unit := regexFind "[A-Za-z]*$" (toString .) }}
{{- mulf (toString . | trimSuffix $unit | float64) (get $factors $unit) | int64 }}
{{- end }}

{{/* A duration such as "1m30s" in milliseconds. */}}
{{- define "spotify-api-server.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 }}
{{- $sum := 0 }}
{{- range regexFindAll "[0-9]+(ms|s|m|h)" . -1 }}
{{- $sum = add $sum (mul (regexFind "[0-9]+" . | int64) (get $units (regexFind "[a-z]+" .))) }}
{{- end }}
{{- $sum }}
{{- end }}

{{/* URLs and ports */}}

{{/* Port of an http or https URL. */}}
{{- define "spotify-api-server.port" -}}
{{- $port := regexFind "^https?://[^/]+" . | regexFind ":[0-9]+$" | trimPrefix ":" }}
{{- if $port -}}
{{ $port }}
{{- else if hasPrefix "https:" . -}}
443
{{- else -}}
80
{{- end }}
{{- end }}

{{/* Port of the rate limit's storage; empty without one. */}}
{{- define "spotify-api-server.rateLimitPort" -}}
{{- with .Values.rateLimit.storage }}
{{- if .url -}}
{{ regexFind ":[0-9]+(/[0-9]*)?$" .url | regexFind "[0-9]+" | default "6379" }}
{{- else if or .existingSecret .file -}}
{{ int .port }}
{{- end }}
{{- end }}
{{- end }}

{{/* Port to which calls to Spotify go. */}}
{{- define "spotify-api-server.upstreamPort" -}}
{{- with .Values.upstreamProxy }}
{{- if .url -}}
{{ regexFind ":[0-9]+/?$" .url | regexFind "[0-9]+" }}
{{- else if or .existingSecret .file -}}
{{ int .port }}
{{- else -}}
{{ include "spotify-api-server.port" $.Values.config.spotifyTokenUrl }}
{{- end }}
{{- end }}
{{- end }}

{{/* The first host that is not a wildcard, of a list. */}}
{{- define "spotify-api-server.firstHost" -}}
{{- range . }}
{{- if not (hasPrefix "*" .) }}
{{- . }}
{{- break }}
{{- end }}
{{- end }}
{{- end }}

{{/* "https" if the Ingress has a certificate for the host, otherwise "http". */}}
{{- define "spotify-api-server.ingressScheme" -}}
{{- $wildcard := regexReplaceAll "^[^.]+" .host "*" }}
{{- $scheme := "http" }}
{{- range .root.Values.ingress.tls }}
{{- if or (not .hosts) (has $.host .hosts) (has $wildcard .hosts) }}
{{- $scheme = "https" }}
{{- end }}
{{- end }}
{{- $scheme }}
{{- end }}

{{/* URL for clients outside the cluster; empty if the values do not say. An HTTPRoute does not say
whether its Gateway has a certificate: https is assumed. */}}
{{- define "spotify-api-server.externalUrl" -}}
{{- $routeHost := "" }}
{{- $ingressHost := "" }}
{{- if .Values.httpRoute.enabled }}
{{- $routeHost = include "spotify-api-server.firstHost" .Values.httpRoute.hostnames }}
{{- end }}
{{- if .Values.ingress.enabled }}
{{- $ingressHost = include "spotify-api-server.firstHost" .Values.ingress.hosts }}
{{- end }}
{{- if .Values.config.publicUrl -}}
{{ trimSuffix "/" .Values.config.publicUrl }}
{{- else if $routeHost -}}
https://{{ $routeHost }}{{ .Values.config.basePath }}
{{- else if $ingressHost -}}
{{ include "spotify-api-server.ingressScheme" (dict "root" . "host" $ingressHost) }}://{{ $ingressHost }}{{ .Values.config.basePath }}
{{- end }}
{{- end }}

{{/* PUBLIC_URL: the issuer in RFC 8414 is an https URL. */}}
{{- define "spotify-api-server.publicUrl" -}}
{{- $external := include "spotify-api-server.externalUrl" . }}
{{- if or .Values.config.publicUrl (hasPrefix "https:" $external) }}
{{- $external }}
{{- end }}
{{- end }}

{{/* URL for clients in the cluster. */}}
{{- define "spotify-api-server.internalUrl" -}}
http://{{ include "spotify-api-server.fullname" . }}.{{ include "spotify-api-server.namespace" . }}
{{- if ne (int .Values.service.port) 80 }}:{{ int .Values.service.port }}{{ end }}
{{- .Values.config.basePath }}
{{- end }}

{{/* Path of the metadata document outside the base path (RFC 8414, section 3.1); empty if the base path
covers it or there is no document. */}}
{{- define "spotify-api-server.metadataPath" -}}
{{- if and .Values.config.basePath (include "spotify-api-server.publicUrl" .) -}}
/.well-known/oauth-authorization-server{{ .Values.config.basePath }}
{{- end }}
{{- end }}

{{/* The Service with the port of the metrics, which is `job` in Prometheus. */}}
{{- define "spotify-api-server.metricsService" -}}
{{ include "spotify-api-server.fullname" . }}
{{- if ne .Values.service.type "ClusterIP" }}-metrics{{ end }}
{{- end }}

{{/* The rate limit counts by client address: nodes must not replace it with their own. */}}
{{- define "spotify-api-server.externalTrafficPolicy" -}}
{{- if .Values.service.externalTrafficPolicy -}}
{{ .Values.service.externalTrafficPolicy }}
{{- else if and .Values.rateLimit.limit (ne .Values.service.type "ClusterIP") -}}
Local
{{- end }}
{{- end }}
