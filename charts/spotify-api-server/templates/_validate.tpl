{{/* What the schema can't say, or can't say in a sentence. */}}
{{- define "spotify-api-server.validate" -}}
{{- include "spotify-api-server.validateCredentials" . -}}
{{- include "spotify-api-server.validateExternalSecret" . -}}
{{- include "spotify-api-server.validateRateLimit" . -}}
{{- include "spotify-api-server.validateUpstreamProxy" . -}}
{{- with .Values.autoscaling }}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) }}
{{- fail "autoscaling.minReplicas is more than autoscaling.maxReplicas." }}
{{- end }}
{{- end }}
{{- if and .Values.otel.enabled (not .Values.otel.endpoint) }}
{{- fail "otel.enabled needs otel.endpoint, such as http://jaeger-collector:4318." }}
{{- end }}
{{- range $name, $gets := dict "spotifyTokenUrl" "it gets the client secret" "spotifyAuthorizeUrl" "users log in there" }}
{{- if and (hasPrefix "http:" (get $.Values.config $name)) (not $.Values.config.allowInsecureUpstream) }}
{{- fail (printf "config.%s must be https: %s; config.allowInsecureUpstream lifts this for a simulator." $name $gets) }}
{{- end }}
{{- end }}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs, the Gateways that it belongs to." }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) }}
{{- fail "ingress.enabled needs ingress.hosts." }}
{{- end }}
{{- range $name := list "serviceMonitor" "prometheusRule" }}
{{- if and (get $.Values.metrics $name).enabled (not $.Values.metrics.enabled) }}
{{- fail (printf "metrics.%s.enabled needs metrics.enabled." $name) }}
{{- end }}
{{- end }}
{{- $ours := list }}
{{- range include "spotify-api-server.ownEnvironment" . | fromYamlArray }}{{ $ours = append $ours .name }}{{ end }}
{{- range .Values.extraEnv }}
{{- $from := get (dict "RATE_LIMIT_STORAGE" "rateLimit.storage" "UPSTREAM_PROXY" "upstreamProxy") .name }}
{{- if $from }}
{{- fail (printf "extraEnv must not have %s: it comes from a Secret, see %s." .name $from) }}
{{- else if has (trimSuffix "_FILE" .name) $ours }}
{{- fail (printf "extraEnv must not have %s: the chart sets it, from values of its own." .name) }}
{{- end }}
{{- end }}
{{- range $name, $url := dict "config.spotifyTokenUrl" .Values.config.spotifyTokenUrl "config.spotifyAuthorizeUrl" .Values.config.spotifyAuthorizeUrl "config.publicUrl" .Values.config.publicUrl "otel.endpoint" .Values.otel.endpoint "tests.simulatorUrl" .Values.tests.simulatorUrl }}
{{- if contains "@" $url }}
{{- fail (printf "%s must not have a user name or a password in it." $name) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.validateCredentials" -}}
{{- $given := list -}}
{{- $missing := list -}}
{{- range $name := list "clientId" "clientSecret" "secretKey" -}}
{{- if get $.Values.spotify $name }}{{ $given = append $given $name }}{{ else }}{{ $missing = append $missing $name }}{{ end -}}
{{- end -}}
{{- $sources := compact (list .Values.spotify.existingSecret (join " " $given) (.Values.externalSecret.enabled | ternary "externalSecret" "")) -}}
{{- if not $sources }}
{{- fail "The Spotify app's credentials are missing: set spotify.existingSecret to the name of a Secret that has them, or set spotify.clientId, spotify.clientSecret and spotify.secretKey, or externalSecret.enabled." }}
{{- else if gt (len $sources) 1 }}
{{- fail "The Spotify app's credentials have more than one source: set one of spotify.existingSecret, spotify.clientId with its companions, and externalSecret.enabled." }}
{{- else if and $given $missing }}
{{- fail (printf "The Spotify app's credentials are incomplete: spotify.%s is missing." (first $missing)) }}
{{- else if and (not $given) (or .Values.spotify.redirectUri .Values.spotify.secretKeysPrevious) }}
{{- fail "spotify.redirectUri and spotify.secretKeysPrevious go into the Secret that the chart makes: put them into yours instead." }}
{{- end }}
{{- include "spotify-api-server.validateTexts" .Values.spotify }}
{{- end }}

{{/* The service would refuse them too, but only when it starts. A sentence never has the value in it. */}}
{{- define "spotify-api-server.validateTexts" -}}
{{- if contains ":" .clientId }}
{{- fail "spotify.clientId must not have a colon in it." }}
{{- end }}
{{- range $name := list "clientId" "clientSecret" }}
{{- if ne (get $ $name) (get $ $name | trim) }}
{{- fail (printf "spotify.%s must not have white space around it." $name) }}
{{- end }}
{{- end }}
{{- range .secretKeysPrevious }}
{{- if contains "\n" . }}
{{- fail "spotify.secretKeysPrevious must have one key per item, without line ends in it." }}
{{- end }}
{{- end }}
{{- if ne (len .keys) (values .keys | uniq | len) }}
{{- fail "spotify.keys must be as many different names." }}
{{- end }}
{{- end }}

{{/* None of these quotes the URL: it may hold a password. */}}
{{- define "spotify-api-server.validateRateLimit" -}}
{{- with .Values.rateLimit }}
{{- if and (not .limit) (or .trustedProxies .storage.url .storage.existingSecret) }}
{{- fail "rateLimit.trustedProxies and rateLimit.storage need rateLimit.limit, such as 60/minute." }}
{{- else if and .storage.url .storage.existingSecret }}
{{- fail "rateLimit.storage has more than one source: set either url or existingSecret." }}
{{- else if and .storage.url (not (regexMatch "^(redis|valkey)s?://([^/?#@]*@)?(\\[[0-9a-fA-F:]+\\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?(/[0-9]*)?$" .storage.url)) }}
{{- fail "rateLimit.storage.url must be redis://, rediss://, valkey:// or valkeys://, a host, and no more than a port and the number of a database." }}
{{- end }}
{{- end }}
{{- end }}

{{/* As above, the URL is not quoted. */}}
{{- define "spotify-api-server.validateUpstreamProxy" -}}
{{- with .Values.upstreamProxy }}
{{- if and .url .existingSecret }}
{{- fail "upstreamProxy has more than one source: set either url or existingSecret." }}
{{- else if and .url (not (regexMatch "^https?://([^/?#@]*@)?(\\[[0-9a-fA-F:]+\\]|[A-Za-z0-9._-]+):[1-9][0-9]{0,4}/?$" .url)) }}
{{- fail "upstreamProxy.url must be http:// or https://, a host and a port, such as http://proxy.example.com:3128." }}
{{- end }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.validateExternalSecret" -}}
{{- with .Values.externalSecret }}
{{- if .enabled }}
{{- if not .secretStoreRef.name }}
{{- fail "externalSecret.enabled needs externalSecret.secretStoreRef.name." }}
{{- else if eq (empty .remoteKey) (empty .data) }}
{{- fail "externalSecret.enabled needs either externalSecret.remoteKey or externalSecret.data." }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
