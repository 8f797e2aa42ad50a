{{- /* Object names are fixed rather than derived from the release: CSI driver, webhook and host paths are one per cluster
anyway, and tests and tutorials can then name what they look at. */ -}}

{{- define "spire.serverNamespace" -}}{{ .Values.global.spire.namespaces.server.name }}{{- end }}
{{- define "spire.systemNamespace" -}}{{ .Values.global.spire.namespaces.system.name }}{{- end }}

{{- define "spire.oidcName" -}}spire-spiffe-oidc-discovery-provider{{- end }}

{{- define "spire.jwtIssuer" -}}
{{ .Values.global.spire.jwtIssuer | default (printf "https://oidc-discovery.%s" .Values.global.spire.trustDomain) }}
{{- end }}

{{- define "spire.className" -}}
{{ (index .Values "spire-server").controllerManager.className | default (printf "%s-%s" .Release.Namespace .Release.Name) }}
{{- end }}

{{- define "spire.spiffeIDTemplate" -}}
spiffe://{{ "{{ .TrustDomain }}/ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}" }}
{{- end }}

{{- /* The two image lines of a container; takes an `image` value. */ -}}
{{- define "spire.image" -}}
image: {{ with .registry }}{{ . }}/{{ end }}{{ .repository }}:{{ .tag }}
imagePullPolicy: {{ .pullPolicy }}
{{- end }}

{{- /* Labels that select a component's pods; takes a name. They must never change: selectors are immutable. */ -}}
{{- define "spire.selector" -}}
app.kubernetes.io/name: {{ . }}
app.kubernetes.io/part-of: spire
{{- end }}

{{- /* Pod and container halves of pod-security "restricted". */ -}}
{{- define "spire.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}
{{- define "spire.restrictedContainer" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Probes of an HTTP health port; takes its name. Starting and becoming ready are looked at often, since everything after
waits for them; liveness rarely, since a slow machine is no reason to restart. */ -}}
{{- define "spire.probes" -}}
startupProbe:
  httpGet: {path: {{ .ready }}, port: {{ .port }}}
  periodSeconds: 1
  timeoutSeconds: 3
  failureThreshold: 180
readinessProbe:
  httpGet: {path: {{ .ready }}, port: {{ .port }}}
  periodSeconds: 2
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: {{ .live }}, port: {{ .port }}}
  periodSeconds: 20
  timeoutSeconds: 10
  failureThreshold: 6
{{- end }}
