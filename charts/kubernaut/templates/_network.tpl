{{/*
Egress that almost every pod needs: names, and the API server, which is no pod
and so can only be told by address and port.
*/}}
{{- define "kubernaut.toDNS" -}}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end -}}
{{- define "kubernaut.toAPIServer" -}}
- to:
    {{- range .Values.network.apiServer.cidrs }}
    - ipBlock:
        cidr: {{ . | quote }}
    {{- end }}
  ports:
    {{- range .Values.network.apiServer.ports }}
    - port: {{ . }}
    {{- end }}
{{- end -}}

{{/*
A peer: the pods of one component.
(list . "redis")
*/}}
{{- define "kubernaut.peer" -}}
- podSelector:
    matchLabels:
      {{- include "kubernaut.selector" . | nindent 6 }}
{{- end -}}

{{/*
The rule that lets the monitoring in to a metrics port.
*/}}
{{- define "kubernaut.fromMonitoring" -}}
{{- with .Values.network.monitoringNamespace }}
- from:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: {{ . }}
  ports:
    - port: metrics
{{- end }}
{{- end -}}

{{/*
The head of a policy for the pods of one component.
(list . "redis")
*/}}
{{- define "kubernaut.policyFor" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ index . 1 }}
  namespace: {{ include "kubernaut.system" (index . 0) }}
  labels:
    {{- include "kubernaut.labels" (list (index . 0) "network") | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "kubernaut.selector" . | nindent 6 }}
{{- end -}}
