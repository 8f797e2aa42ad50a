{{- /* The CA's subject, as JSON: each part as it is given for all, or for the server. */ -}}
{{- define "spire.caSubject" -}}
{{- $own := (index .Values "spire-server").caSubject | default dict -}}
{{- $found := dict -}}
{{- range $part := list "country" "organization" "commonName" -}}
{{- $_ := set $found $part (default (get $own $part) (get ($.Values.global.spire.caSubject | default dict) $part)) -}}
{{- end -}}
{{- toJson $found -}}
{{- end -}}

{{- /*
spire-server's configuration. SPIRE reads JSON as well as HCL, so it is put together as data and never as text: no value can
break its syntax. Only options that both SPIRE 1.14 and 1.15 know are set; an unknown one would stop the server.
*/ -}}
{{- define "spire.server.config" -}}
{{- $values := index .Values "spire-server" -}}
{{- $spire := .Values.global.spire -}}
{{- $subject := include "spire.caSubject" . | fromJson -}}
{{- $server := dict
  "trust_domain" $spire.trustDomain
  "bind_address" "0.0.0.0"
  "bind_port" 8081
  "socket_path" "/tmp/spire-server/private/api.sock"
  "data_dir" "/run/spire/data"
  "log_level" (upper $values.logLevel)
  "audit_log_enabled" false
  "ca_subject" (dict "country" (list $subject.country) "organization" (list $subject.organization) "common_name" $subject.commonName)
  "ca_ttl" $values.caTTL
  "default_x509_svid_ttl" $values.defaultX509SvidTTL
  "default_jwt_svid_ttl" $values.defaultJwtSvidTTL
  "jwt_issuer" (include "spire.jwtIssuer" .)
-}}
{{- with $values.federation -}}
{{- if .enabled -}}
{{- $endpoint := dict
  "address" .bundleEndpoint.address
  "port" (int .bundleEndpoint.port)
  "refresh_hint" .bundleEndpoint.refreshHint
  "profile" (list (dict "https_spiffe" dict))
-}}
{{- $_ := set $server "federation" (dict "bundle_endpoint" $endpoint) -}}
{{- end -}}
{{- end -}}
{{- with $values.experimental -}}
{{- if .enabled -}}
{{- $_ := set $server "experimental" (dict "cache_reload_interval" .cacheReloadInterval) -}}
{{- end -}}
{{- end -}}
{{- $agent := printf "%s:spire-agent" (include "spire.systemNamespace" .) -}}
{{- $plugins := dict
  "DataStore" (dict "sql" (dict "plugin_data" (dict
    "database_type" "sqlite3"
    "connection_string" "/run/spire/data/datastore.sqlite3")))
  "KeyManager" (dict "disk" (dict "plugin_data" (dict
    "keys_path" "/run/spire/data/keys.json")))
  "NodeAttestor" (dict "k8s_psat" (dict "plugin_data" (dict
    "clusters" (dict $spire.clusterName (dict "service_account_allow_list" (list $agent))))))
  "Notifier" (dict "k8sbundle" (dict "plugin_data" (dict
    "namespace" (include "spire.systemNamespace" .)
    "config_map" "spire-bundle"
    "config_map_key" "bundle.crt")))
-}}
{{- $health := dict "listener_enabled" true "bind_address" "0.0.0.0" "bind_port" "8080" "live_path" "/live" "ready_path" "/ready" -}}
{{- dict "server" $server "plugins" $plugins "health_checks" $health | toPrettyJson -}}
{{- end }}
