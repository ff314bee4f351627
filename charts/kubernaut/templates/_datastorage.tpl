{{/*
The address of the database, without its password; the owner's and the
service's role differ only in their names.
(list . "kubernaut_owner")
*/}}
{{- define "kubernaut.databaseEnv" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- if $root.Values.postgresql.enabled }}
- name: DATABASE_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "kubernaut.postgresqlSecret" $root }}
      key: {{ trimPrefix "kubernaut_" $role }}-password
- name: DATABASE_URL
  value: postgres://{{ $role }}:$(DATABASE_PASSWORD)@{{ include "kubernaut.host" (list $root "postgresql") }}:5432/kubernaut?sslmode=disable
{{- else }}
- name: DATABASE_URL
  valueFrom:
    secretKeyRef:
      name: {{ required "postgresql.external.existingSecret: name the Secret with the address of your PostgreSQL" $root.Values.postgresql.external.existingSecret }}
      key: {{ trimPrefix "kubernaut_" $role }}-url
{{- end }}
{{- end -}}

{{/*
The address of Redis; none when there is none.
*/}}
{{- define "kubernaut.redisEnv" -}}
{{- if .Values.redis.enabled }}
- name: REDIS_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ include "kubernaut.redisSecret" . }}
      key: password
- name: REDIS_URL
  value: redis://:$(REDIS_PASSWORD)@{{ include "kubernaut.host" (list . "redis") }}:6379/0
{{- else if .Values.redis.external.existingSecret }}
- name: REDIS_URL
  valueFrom:
    secretKeyRef:
      name: {{ .Values.redis.external.existingSecret }}
      key: url
{{- end }}
{{- end -}}
