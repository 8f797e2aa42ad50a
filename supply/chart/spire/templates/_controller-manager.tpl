{{- /* The controller manager's configuration and container; the pod is the server's, whose socket it shares. */ -}}

{{- define "spire.controllerManager.config" -}}
{{- $values := (index .Values "spire-server").controllerManager -}}
{{- $spire := .Values.global.spire -}}
{{- dict
  "apiVersion" "spire.spiffe.io/v1alpha1"
  "kind" "ControllerManagerConfig"
  "clusterName" $spire.clusterName
  "clusterDomain" .Values.global.k8s.clusterDomain
  "trustDomain" $spire.trustDomain
  "className" (include "spire.className" .)
  "watchClassless" $values.watchClassless
  "reconcile" (pick $values.reconcile "clusterSPIFFEIDs" "clusterStaticEntries" "clusterFederatedTrustDomains")
  "ignoreNamespaces" (list "^kube-system$" "^kube-public$" (printf "^%s$" (include "spire.systemNamespace" .)))
  "spireServerSocketPath" "/tmp/spire-server/private/api.sock"
  "validatingWebhookConfigurationName" "spire-controller-manager-webhook"
  "gcInterval" $values.gcInterval
  "logLevel" $values.logLevel
  "metrics" (dict "bindAddress" "0")
  "health" (dict "healthProbeBindAddress" ":8083")
  | toYaml -}}
{{- end }}

{{- define "spire.controllerManager.container" -}}
{{- $values := (index .Values "spire-server").controllerManager -}}
- name: spire-controller-manager
  {{- include "spire.image" $values.image | nindent 2 }}
  command: [/spire-controller-manager]
  args: [-config, /etc/spire/controller-manager.yaml]
  ports:
    - {name: webhook, containerPort: 9443}
    - {name: cm-health, containerPort: 8083}
  securityContext:
    {{- include "spire.restrictedContainer" . | nindent 4 }}
  # It waits for the server's socket by itself, and answers here once it has its webhook certificate.
  {{- include "spire.probes" (dict "port" "cm-health" "ready" "/readyz" "live" "/healthz") | nindent 2 }}
  volumeMounts:
    - {name: controller-manager-config, mountPath: /etc/spire, readOnly: true}
    # For the webhook's key pair, which has to be a file.
    - {name: tmp, mountPath: /tmp}
    - {name: socket, mountPath: /tmp/spire-server/private, readOnly: true}
{{- end }}
