// Package local is a real one-node Kubernetes on this machine, without a
// container engine and without changing the machine.
//
//	kubernaut env up                       the machine
//	  │ starts, with new mount, network, pid, ipc, uts and cgroup namespaces
//	  ▼
//	init, pid 1 of the node                the node: own root, own addresses
//	  ├── etcd ── kube-apiserver ──┬── kube-controller-manager, kube-scheduler
//	  ├── containerd ── pods       └── kubelet, kube-proxy
//	  └── forwards one loopback port of the machine to the API server
//
// Everything the node does is inside its namespaces, so that ending init ends
// it all: processes, mounts, addresses and firewall rules. What the kernel does
// not remove by itself are the control groups and the files below the cache
// folder; Down does that, also after any of the processes was killed.
package local
