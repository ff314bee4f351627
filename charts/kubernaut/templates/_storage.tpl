{{/*
The volume "data" of a component, by its persistence values: a claim that is
there already, one that this chart makes, or a folder that goes with the pod.
(list . "postgresql")
*/}}
{{- define "kubernaut.dataVolume" -}}
{{- $p := (get (index . 0).Values (index . 1)).persistence -}}
- name: data
{{- if eq $p.type "emptyDir" }}
  emptyDir: {}
{{- else }}
  persistentVolumeClaim:
    claimName: {{ $p.existingClaim | default (printf "%s-data" (index . 1)) }}
{{- end }}
{{- end -}}

{{/*
The claim of a component, unless there is one or none is wanted; with a host's
folder also the volume that is that folder.
(list . "postgresql")
*/}}
{{- define "kubernaut.dataClaim" -}}
{{- $root := index . 0 -}}
{{- $component := index . 1 -}}
{{- $p := (get $root.Values $component).persistence -}}
{{- if and (eq $p.type "claim") (not $p.existingClaim) }}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  {{- include "kubernaut.metadata" (list $root $component (printf "%s-data" $component)) | nindent 2 }}
  annotations:
    helm.sh/resource-policy: keep
spec:
  accessModes: [ReadWriteOnce]
  resources:
    requests:
      storage: {{ $p.size }}
{{- if $p.hostPath }}
  storageClassName: ""
  volumeName: kubernaut-{{ $component }}
---
apiVersion: v1
kind: PersistentVolume
metadata:
  name: kubernaut-{{ $component }}
  labels:
    {{- include "kubernaut.labels" (list $root $component) | nindent 4 }}
spec:
  accessModes: [ReadWriteOnce]
  capacity:
    storage: {{ $p.size }}
  persistentVolumeReclaimPolicy: Retain
  storageClassName: ""
  claimRef:
    namespace: {{ include "kubernaut.system" $root }}
    name: {{ $component }}-data
  hostPath:
    path: {{ $p.hostPath | quote }}
    type: Directory
{{- else if $p.storageClass }}
  storageClassName: {{ $p.storageClass | quote }}
{{- end }}
{{- end }}
{{- end -}}
