{{- /* spire-agent's configuration: JSON, put together as data, like the server's. */ -}}
{{- define "spire.agent.config" -}}
{{- $spire := .Values.global.spire -}}
{{- $agent := dict
  "trust_domain" $spire.trustDomain
  "server_address" (printf "spire-server.%s.svc" (include "spire.serverNamespace" .))
  "server_port" 443
  "socket_path" (index .Values "spire-agent").socketPath
  "data_dir" "/var/lib/spire"
  "log_level" (upper (index .Values "spire-agent").logLevel)
  "trust_bundle_path" "/run/spire/bundle/bundle.crt"
-}}
{{- with (index .Values "spire-agent").experimental -}}
{{- if .enabled -}}
{{- $_ := set $agent "experimental" (dict "sync_interval" .syncInterval) -}}
{{- end -}}
{{- end -}}
{{- $plugins := dict
  "KeyManager" (dict "memory" (dict "plugin_data" dict))
  "NodeAttestor" (dict "k8s_psat" (dict "plugin_data" (dict
    "cluster" $spire.clusterName
    "token_path" "/var/run/secrets/tokens/spire-agent")))
  "WorkloadAttestor" (dict "k8s" (dict "plugin_data" (dict
    "node_name_env" "KUBELET_HOST"
    "skip_kubelet_verification" true)))
-}}
{{- $health := dict "listener_enabled" true "bind_address" "0.0.0.0" "bind_port" "8080" "live_path" "/live" "ready_path" "/ready" -}}
{{- dict "agent" $agent "plugins" $plugins "health_checks" $health | toPrettyJson -}}
{{- end }}
