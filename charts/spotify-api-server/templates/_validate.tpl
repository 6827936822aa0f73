{{/* Checks that the schema cannot express, or not in a sentence. No message contains a value that may be
secret. */}}

{{- define "spotify-api-server.validate" -}}
{{- if and (kindIs "bool" .Values.enabled) (not .Values.enabled) }}
{{- fail "enabled: false has an effect only in a parent chart, as the condition of its dependency." }}
{{- end }}
{{- include "spotify-api-server.validateNames" . }}
{{- include "spotify-api-server.validateCredentials" . }}
{{- include "spotify-api-server.validateExternalSecret" . }}
{{- include "spotify-api-server.validateConfig" . }}
{{- include "spotify-api-server.validateRateLimit" . }}
{{- include "spotify-api-server.validateUpstreamProxy" . }}
{{- include "spotify-api-server.validateTelemetry" . }}
{{- include "spotify-api-server.validateReplicas" . }}
{{- include "spotify-api-server.validateService" . }}
{{- include "spotify-api-server.validateRoutes" . }}
{{- include "spotify-api-server.validatePod" . }}
{{- end }}

{{- define "spotify-api-server.validateNames" -}}
{{- $fullname := include "spotify-api-server.fullname" . }}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) }}
{{- fail (printf "The name %s, from the release's name, is not one that a Service can have: set fullnameOverride to lower-case letters, digits and '-'." $fullname) }}
{{- end }}
{{- $first := splitList "/" .Values.image.repository | first }}
{{- $hasRegistry := and (contains "/" .Values.image.repository) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) }}
{{- if not (or $hasRegistry (include "spotify-api-server.registry" .)) }}
{{- fail "image.registry is missing: this chart is not from a release, so set image.registry and image.tag (or image.digest) to an image that the cluster can pull." }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.validateCredentials" -}}
{{- $values := .Values.spotify }}
{{- $files := .Values.spotify.files }}
{{- $names := list "clientId" "clientSecret" "secretKey" }}
{{- $sources := list }}
{{- if $values.existingSecret }}{{ $sources = append $sources "existingSecret" }}{{ end }}
{{- if .Values.externalSecret.enabled }}{{ $sources = append $sources "externalSecret" }}{{ end }}
{{- range $prefix, $source := dict "spotify." $values "spotify.files." $files }}
{{- $given := list }}
{{- $missing := list }}
{{- range $names }}
{{- if get $source . }}{{ $given = append $given . }}{{ else }}{{ $missing = append $missing . }}{{ end }}
{{- end }}
{{- if and $given $missing }}
{{- fail (printf "The credentials of the Spotify app are incomplete: %s%s is missing." $prefix (first $missing)) }}
{{- end }}
{{- if $given }}{{ $sources = append $sources $prefix }}{{ end }}
{{- end }}
{{- if not $sources }}
{{- fail "The credentials of the Spotify app are missing: set spotify.existingSecret to the name of a Secret, or spotify.clientId, spotify.clientSecret and spotify.secretKey, or externalSecret.enabled, or spotify.files." }}
{{- else if gt (len $sources) 1 }}
{{- fail "The credentials of the Spotify app have more than one source: set only one of spotify.existingSecret, spotify.clientId (with clientSecret and secretKey), externalSecret.enabled and spotify.files." }}
{{- end }}
{{- if and $values.secretKeysPrevious (not $values.clientId) }}
{{- fail "spotify.secretKeysPrevious belongs to spotify.secretKey: with another source of credentials, add the previous keys there." }}
{{- end }}
{{- if and (not $files.clientId) (or $files.secretKeysPrevious $files.redirectUri) }}
{{- fail "spotify.files needs clientId, clientSecret and secretKey." }}
{{- end }}
{{- if and $values.redirectUri $files.redirectUri }}
{{- fail "spotify.redirectUri and spotify.files.redirectUri are both set: set one of them." }}
{{- end }}
{{- if and $values.mountAsFiles (not (include "spotify-api-server.secretSources" . | trim)) }}
{{- fail "spotify.mountAsFiles mounts Secrets, and with spotify.files there is none." }}
{{- end }}
{{- include "spotify-api-server.validateTexts" $values }}
{{- end }}

{{- define "spotify-api-server.validateTexts" -}}
{{- if contains ":" .clientId }}
{{- fail "spotify.clientId must not contain a colon." }}
{{- end }}
{{- range $name := list "clientId" "clientSecret" }}
{{- if ne (get $ $name) (get $ $name | trim) }}
{{- fail (printf "spotify.%s must not begin or end with white space." $name) }}
{{- else if regexMatch "[\\pC\\pZ]" (get $ $name | replace " " "") }}
{{- fail (printf "spotify.%s must not contain control characters." $name) }}
{{- end }}
{{- end }}
{{- range .secretKeysPrevious }}
{{- if contains "\n" . }}
{{- fail "spotify.secretKeysPrevious must be a list with one key per item, without line breaks." }}
{{- end }}
{{- end }}
{{- if ne (len .keys) (values .keys | uniq | len) }}
{{- fail "spotify.keys must be different names." }}
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

{{/* Regular expressions for parts of URLs that the service accepts. */}}
{{- define "spotify-api-server.userPattern" -}}
([!-"$-.0->A-~]*@)?
{{- end }}

{{- define "spotify-api-server.hostPattern" -}}
([A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?|\[(:{0,2}[0-9a-fA-F.]+)+:{0,2}\])
{{- end }}

{{- define "spotify-api-server.portPattern" -}}
:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])
{{- end }}

{{- define "spotify-api-server.validateConfig" -}}
{{- $config := .Values.config }}
{{- range $name, $reason := dict "spotifyTokenUrl" "it receives the client secret" "spotifyAuthorizeUrl" "users log in there" }}
{{- if and (hasPrefix "http:" (get $config $name)) (not $config.allowInsecureUpstream) }}
{{- fail (printf "config.%s must be https: %s. config.allowInsecureUpstream allows http for a simulator." $name $reason) }}
{{- end }}
{{- end }}
{{- $pattern := printf "^https?://%s(%s)?(/[!-~]*)?$" (include "spotify-api-server.hostPattern" .) (include "spotify-api-server.portPattern" .) }}
{{- range $name, $url := dict "config.spotifyTokenUrl" $config.spotifyTokenUrl "config.spotifyAuthorizeUrl" $config.spotifyAuthorizeUrl "config.publicUrl" $config.publicUrl "otel.endpoint" .Values.otel.endpoint "tests.simulatorUrl" .Values.tests.simulatorUrl }}
{{- if contains "@" $url }}
{{- fail (printf "%s must not contain a user name or a password." $name) }}
{{- else if and $url (not (regexMatch $pattern ($url | replace "$(HOST_IP)" "192.0.2.1"))) }}
{{- fail (printf "%s must be a URL with a host name or an address, and at most a port from 1 to 65535." $name) }}
{{- end }}
{{- end }}
{{- if regexMatch "^(127\\.|::1$|localhost$)" $config.host }}
{{- fail "config.host must not be a loopback address: neither probes nor clients reach it." }}
{{- end }}
{{- if has $config.basePath (list "/healthz" "/readyz" "/.well-known/oauth-authorization-server") }}
{{- fail "config.basePath must not be the path of an endpoint outside it." }}
{{- end }}
{{- range $config.corsAllowOrigins }}
{{- if or (regexMatch "^http://.*:80$" .) (regexMatch "^https://.*:443$" .) }}
{{- fail "config.corsAllowOrigins must not contain a default port (:80, :443): browsers leave it out." }}
{{- end }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.validateRateLimit" -}}
{{- $pattern := printf "^(redis|valkey)s?://%s%s(%s)?(/[0-9]{0,5})?$" (include "spotify-api-server.userPattern" .) (include "spotify-api-server.hostPattern" .) (include "spotify-api-server.portPattern" .) }}
{{- with .Values.rateLimit }}
{{- $sources := list .storage.url .storage.existingSecret .storage.file | compact }}
{{- range .trustedProxies }}
{{- include "spotify-api-server.validateNetwork" . }}
{{- end }}
{{- if and (not .limit) (or .trustedProxies $sources) }}
{{- fail "rateLimit.trustedProxies and rateLimit.storage need rateLimit.limit, such as 60/minute." }}
{{- else if gt (len $sources) 1 }}
{{- fail "rateLimit.storage has more than one source: set one of url, existingSecret and file." }}
{{- else if and .storage.url (not (regexMatch $pattern .storage.url)) }}
{{- fail "rateLimit.storage.url must be redis://, rediss://, valkey:// or valkeys:// with a host, and at most a port and the number of a database." }}
{{- end }}
{{- end }}
{{- end }}

{{/* The bits after the prefix must be zero. Of an IPv6 network, only the last group is checked. */}}
{{- define "spotify-api-server.validateNetwork" -}}
{{- $address := splitList "/" . | first }}
{{- $prefix := trimPrefix $address . | trimPrefix "/" | default "128" | int }}
{{- $hasHostBits := false }}
{{- if contains ":" $address }}
{{- $hasHostBits = and (le $prefix 112) (not (regexMatch ":0{0,4}$" $address)) }}
{{- else }}
{{- $number := 0 }}
{{- range splitList "." $address }}
{{- $number = add (mul $number 256) (int .) }}
{{- end }}
{{- range until (max 0 (sub 32 $prefix) | int) }}
{{- $hasHostBits = or $hasHostBits (eq (mod $number 2) 1) }}
{{- $number = div $number 2 }}
{{- end }}
{{- end }}
{{- if $hasHostBits }}
{{- fail (printf "rateLimit.trustedProxies has %s: the bits after the prefix must be zero, as in 10.0.0.0/8." .) }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.validateUpstreamProxy" -}}
{{- $pattern := printf "^https?://%s%s%s/?$" (include "spotify-api-server.userPattern" .) (include "spotify-api-server.hostPattern" .) (include "spotify-api-server.portPattern" .) }}
{{- with .Values.upstreamProxy }}
{{- if gt (list .url .existingSecret .file | compact | len) 1 }}
{{- fail "upstreamProxy has more than one source: set one of url, existingSecret and file." }}
{{- else if and .url (not (regexMatch $pattern .url)) }}
{{- fail "upstreamProxy.url must be http:// or https:// with a host and a port, such as http://proxy.example.com:3128." }}
{{- end }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.validateTelemetry" -}}
{{- with .Values.otel }}
{{- if and .enabled (not .endpoint) }}
{{- fail "otel.enabled needs otel.endpoint, such as http://jaeger-collector:4318." }}
{{- else if regexMatch "/v1/traces/?$" .endpoint }}
{{- fail "otel.endpoint must not end with /v1/traces: the exporter adds it." }}
{{- else if and (eq .protocol "grpc") (regexMatch "^https?://[^/]+/." .endpoint) }}
{{- fail "otel.endpoint must not have a path with otel.protocol grpc." }}
{{- end }}
{{- end }}
{{- range $name := list "serviceMonitor" "prometheusRule" }}
{{- if and (get $.Values.metrics $name).enabled (not $.Values.metrics.enabled) }}
{{- fail (printf "metrics.%s.enabled needs metrics.enabled." $name) }}
{{- end }}
{{- end }}
{{- with .Values.metrics.serviceMonitor }}
{{- if gt (include "spotify-api-server.milliseconds" .scrapeTimeout | int64) (include "spotify-api-server.milliseconds" .interval | int64) }}
{{- fail "metrics.serviceMonitor.scrapeTimeout must not be longer than metrics.serviceMonitor.interval." }}
{{- end }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.validateReplicas" -}}
{{- $min := include "spotify-api-server.minReplicas" . | int }}
{{- $max := include "spotify-api-server.maxReplicas" . | int }}
{{- if .Values.autoscaling.enabled }}
{{- with .Values.autoscaling }}
{{- if gt $min $max }}
{{- fail "autoscaling.minReplicas must not be larger than autoscaling.maxReplicas." }}
{{- else if not (or .targetCPU .targetMemory .metrics) }}
{{- fail "autoscaling.enabled needs autoscaling.targetCPU, autoscaling.targetMemory or autoscaling.metrics." }}
{{- end }}
{{- end }}
{{- include "spotify-api-server.validateTarget" (list (default dict .Values.resources) "cpu" "targetCPU" .Values.autoscaling.targetCPU) }}
{{- include "spotify-api-server.validateTarget" (list (default dict .Values.resources) "memory" "targetMemory" .Values.autoscaling.targetMemory) }}
{{- end }}
{{- with .Values.podDisruptionBudget }}
{{- if and .enabled (gt $max 1) }}
{{- if not (or .minAvailable .maxUnavailable) }}
{{- fail "podDisruptionBudget needs maxUnavailable or minAvailable." }}
{{- end }}
{{- $isKnown := or $.Values.autoscaling.enabled (not (kindIs "invalid" $.Values.replicaCount)) }}
{{- if and $isKnown .minAvailable (ge (include "spotify-api-server.count" (list .minAvailable $min) | int) $min) }}
{{- fail "podDisruptionBudget.minAvailable must be smaller than the smallest number of pods, or nodes cannot be drained." }}
{{- else if and $isKnown (not .minAvailable) (ge (include "spotify-api-server.count" (list .maxUnavailable $max) | int) $max) }}
{{- fail "podDisruptionBudget.maxUnavailable must be smaller than the largest number of pods, or it protects none." }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* A number of pods, also from a share ("50%") of a number, rounded up as Kubernetes does. */}}
{{- define "spotify-api-server.count" -}}
{{- $value := index . 0 }}
{{- if kindIs "string" $value -}}
{{ divf (mul (trimSuffix "%" $value | int) (index . 1)) 100 | ceil | int }}
{{- else -}}
{{ int $value }}
{{- end }}
{{- end }}

{{/* Arguments: resources, name of the resource, name of the value, target of the autoscaler. */}}
{{- define "spotify-api-server.validateTarget" -}}
{{- $name := index . 1 }}
{{- $request := dig "requests" $name "" (index . 0) }}
{{- $limit := dig "limits" $name "" (index . 0) }}
{{- $target := index . 3 }}
{{- if hasSuffix "%" (toString $target) }}
{{- if not $request }}
{{- fail (printf "autoscaling.%s is a share of resources.requests.%s, which is missing." (index . 2) $name) }}
{{- end }}
{{- $share := trimSuffix "%" $target | float64 }}
{{- $target = printf "%dm" (divf (mulf (include "spotify-api-server.milli" $request | float64) $share) 100 | int64) }}
{{- end }}
{{- if and $target $limit (ge (include "spotify-api-server.milli" $target | int64) (include "spotify-api-server.milli" $limit | int64)) }}
{{- fail (printf "autoscaling.%s must be below resources.limits.%s, or no load scales the pods up." (index . 2) $name) }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.validateService" -}}
{{- with .Values.service }}
{{- if and $.Values.metrics.enabled (eq .type "ClusterIP") (eq (int .port) (int .metricsPort)) }}
{{- fail "service.port and service.metricsPort must be different." }}
{{- end }}
{{- range $field := list "externalTrafficPolicy" "nodePort" }}
{{- if and (get $.Values.service $field) (eq $.Values.service.type "ClusterIP") }}
{{- fail (printf "service.%s needs service.type NodePort or LoadBalancer." $field) }}
{{- end }}
{{- end }}
{{- range $field := list "loadBalancerClass" "loadBalancerSourceRanges" }}
{{- if and (get $.Values.service $field) (ne $.Values.service.type "LoadBalancer") }}
{{- fail (printf "service.%s needs service.type LoadBalancer." $field) }}
{{- end }}
{{- end }}
{{- if and (eq .clusterIP "None") (ne .type "ClusterIP") }}
{{- fail "service.clusterIP None needs service.type ClusterIP." }}
{{- end }}
{{- if and (eq .externalTrafficPolicy "Cluster") $.Values.rateLimit.limit (not $.Values.rateLimit.trustedProxies) }}
{{- fail "service.externalTrafficPolicy Cluster replaces client addresses by those of nodes, so that rateLimit.limit counts all clients as one: use Local, or set rateLimit.trustedProxies." }}
{{- end }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.validateRoutes" -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) }}
{{- fail "httpRoute.enabled needs httpRoute.parentRefs, the Gateways of the route." }}
{{- end }}
{{- with .Values.httpRoute.timeouts }}
{{- $request := include "spotify-api-server.milliseconds" (default "" .request) | int64 }}
{{- if and $request (gt (include "spotify-api-server.milliseconds" (default "" .backendRequest) | int64) $request) }}
{{- fail "httpRoute.timeouts.backendRequest must not be longer than httpRoute.timeouts.request." }}
{{- end }}
{{- end }}
{{- with .Values.ingress }}
{{- if and .enabled (not .hosts) }}
{{- fail "ingress.enabled needs ingress.hosts; \"*\" is a rule for every host." }}
{{- end }}
{{- $hosts := .hosts }}
{{- if not (has "*" $hosts) }}
{{- range .tls }}
{{- range .hosts }}
{{- if not (or (has . $hosts) (hasPrefix "*." .)) }}
{{- fail (printf "ingress.tls has the host %s, which is not in ingress.hosts." .) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "spotify-api-server.validatePod" -}}
{{- $resources := default dict .Values.resources }}
{{- range $name, $request := default dict $resources.requests }}
{{- $limit := dig "limits" $name "" $resources }}
{{- if and $limit (gt (include "spotify-api-server.milli" $request | int64) (include "spotify-api-server.milli" $limit | int64)) }}
{{- fail (printf "resources.requests.%s must not be larger than resources.limits.%s." $name $name) }}
{{- end }}
{{- end }}
{{- $env := include "spotify-api-server.env" . }}
{{- /* Other values depend on these settings, or they are secret. */}}
{{- $values := dict "OTEL_EXPORTER_OTLP_ENDPOINT" "otel" "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" "otel" "RATE_LIMIT" "rateLimit.limit" "RATE_LIMIT_STORAGE" "rateLimit.storage" "SECRET_KEYS_PREVIOUS" "spotify" "UPSTREAM_PROXY" "upstreamProxy" }}
{{- $names := list }}
{{- range .Values.extraEnv }}
{{- $setting := trimSuffix "_FILE" .name }}
{{- if hasKey $values $setting }}
{{- fail (printf "extraEnv must not contain %s: set %s." .name (get $values $setting)) }}
{{- else if or (contains (printf "- name: %s\n" $setting) $env) (contains (printf "- name: %s_FILE\n" $setting) $env) }}
{{- fail (printf "extraEnv must not contain %s: the chart sets it from other values." .name) }}
{{- else if has .name $names }}
{{- fail (printf "extraEnv contains %s more than once." .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- $names = list }}
{{- range .Values.extraVolumes }}
{{- if or (eq .name "tmp") (and (eq .name "secrets") $.Values.spotify.mountAsFiles) }}
{{- fail (printf "extraVolumes must not contain %s, a volume of the chart." .name) }}
{{- else if has .name $names }}
{{- fail (printf "extraVolumes contains %s more than once." .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- $names = list }}
{{- range concat (default list .Values.extraContainers) (default list .Values.initContainers) }}
{{- if has .name $names }}
{{- fail (printf "extraContainers and initContainers contain %s more than once." .name) }}
{{- end }}
{{- $names = append $names .name }}
{{- if eq .name (include "spotify-api-server.containerName" $) }}
{{- fail (printf "extraContainers and initContainers must not contain %s, the container of the chart." .name) }}
{{- end }}
{{- end }}
{{- end }}
