// Package bench measures the controller: a process of its own against a real
// kube-apiserver whose etcd waits for the disk, with a scripted Tekton that
// completes every run at once. Each measure is printed beside its limit.
package bench
