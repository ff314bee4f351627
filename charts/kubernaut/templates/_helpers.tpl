{{/*
The namespaces. Both names are fixed: they are part of every address, and the
programs know them too.
*/}}
{{- define "kubernaut.system" -}}
{{- if ne .Release.Namespace "kubernaut-system" -}}
{{- fail (printf "install this chart into the namespace kubernaut-system, not %s: helm install --namespace kubernaut-system --create-namespace" .Release.Namespace) -}}
{{- end -}}
kubernaut-system
{{- end -}}
{{- define "kubernaut.workflows" -}}kubernaut-workflows{{- end -}}

{{/*
The name of a Service as pods of every namespace reach it.
(list . "postgresql")
*/}}
{{- define "kubernaut.host" -}}
{{ index . 1 }}.{{ include "kubernaut.system" (index . 0) }}.svc
{{- end -}}

{{/*
Labels of every object; the component is what the environment waits for as one.
(list . "postgresql")
*/}}
{{- define "kubernaut.labels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/component: {{ index . 1 }}
app.kubernetes.io/part-of: kubernaut
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
{{- end -}}

{{/*
Labels that find the pods of a component.
*/}}
{{- define "kubernaut.selector" -}}
app.kubernetes.io/name: {{ index . 1 }}
app.kubernetes.io/part-of: kubernaut
{{- end -}}

{{/*
metadata of an object in the system namespace.
(list . "component" "name")
*/}}
{{- define "kubernaut.metadata" -}}
name: {{ index . 2 }}
namespace: {{ include "kubernaut.system" (index . 0) }}
labels:
  {{- include "kubernaut.labels" (list (index . 0) (index . 1)) | nindent 2 }}
{{- end -}}

{{/*
The image of a component: images.<name>, which has no default for our own.
*/}}
{{- define "kubernaut.image" -}}
{{- $name := index . 1 -}}
{{- required (printf "images.%s: name the image to run" $name) (get (index . 0).Values.images $name) -}}
{{- end -}}

{{/*
What `restricted` asks of a container, and a root file system nobody writes to.
*/}}
{{- define "kubernaut.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/*
What `restricted` asks of a pod; the number is user, group and owner of volumes.
*/}}
{{- define "kubernaut.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/*
Settings of every pod: who may pull its images, where it may run.
*/}}
{{- define "kubernaut.scheduling" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/*
A value of a Secret as it stands in the cluster, so that an upgrade keeps it.
(list . "namespace" "secret" "key"), empty when there is none, still encoded
*/}}
{{- define "kubernaut.kept" -}}
{{- $found := lookup "v1" "Secret" (index . 1) (index . 2) -}}
{{- if $found }}{{ get ($found.data | default dict) (index . 3) }}{{ end -}}
{{- end -}}

{{/*
A password, encoded for a Secret: the one in the cluster, else a new one.
(list . "secret" "key")
*/}}
{{- define "kubernaut.password" -}}
{{- $root := index . 0 -}}
{{- include "kubernaut.kept" (list $root (include "kubernaut.system" $root) (index . 1) (index . 2)) | default (randAlphaNum 32 | b64enc) -}}
{{- end -}}

{{/*
The names of the Secrets: existing ones, else those this chart makes.
*/}}
{{- define "kubernaut.postgresqlSecret" -}}{{ .Values.postgresql.existingSecret | default "postgresql" }}{{- end -}}
{{- define "kubernaut.redisSecret" -}}{{ .Values.redis.existingSecret | default "redis" }}{{- end -}}
{{- define "kubernaut.datastorageTLS" -}}{{ .Values.datastorage.tls.existingSecret | default "datastorage-tls" }}{{- end -}}
{{- define "kubernaut.registryTLS" -}}{{ .Values.registry.tls.existingSecret | default "registry-tls" }}{{- end -}}
{{- define "kubernaut.registryAuth" -}}{{ .Values.registry.auth.existingSecret | default "registry-htpasswd" }}{{- end -}}
{{- define "kubernaut.registryLogins" -}}
{{- .Values.datastorage.catalog.pullSecret | default (ternary "datastorage-registry" "" .Values.registry.enabled) -}}
{{- end -}}
{{- define "kubernaut.caConfigMap" -}}{{ .Values.ca.existingConfigMap | default "kubernaut-ca" }}{{- end -}}
