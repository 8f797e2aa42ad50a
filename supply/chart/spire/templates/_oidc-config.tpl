{{- /*
The OIDC discovery provider's configuration: JSON, put together as data, like the server's. It serves plain HTTP inside the
cluster, because a certificate that verifiers trust takes either ACME and a public name or a proxy with one. So `issuer` is what
tokens say, as it must be, while `jwks_uri` is an address at which the keys are really found.
*/ -}}
{{- define "spire.oidc.config" -}}
{{- $issuer := include "spire.jwtIssuer" . -}}
{{- $name := include "spire.oidcName" . -}}
{{- $service := printf "%s.%s.svc" $name (include "spire.serverNamespace" .) -}}
{{- $fqdn := printf "%s.%s" $service .Values.global.k8s.clusterDomain -}}
{{- $advertised := printf "oidc-discovery.%s" .Values.global.spire.trustDomain -}}
{{- /* Requests for any other host are refused; localhost is for `kubectl port-forward`. */ -}}
{{- $domains := list $advertised (get (urlParse $issuer) "hostname") $name (trimSuffix ".svc" $service) $service $fqdn "localhost" -}}
{{- $socket := printf "/spiffe-workload-api/%s" (base (index .Values "spire-agent").socketPath) -}}
{{- dict
  "log_level" "info"
  "domains" (uniq $domains)
  "insecure_addr" ":8080"
  "jwt_issuer" $issuer
  "jwks_uri" (printf "http://%s/keys" $fqdn)
  "workload_api" (dict "socket_path" $socket "trust_domain" .Values.global.spire.trustDomain "poll_interval" "500ms")
  "health_checks" (dict "bind_port" 8008 "ready_path" "/ready" "live_path" "/live")
  | toPrettyJson -}}
{{- end }}
