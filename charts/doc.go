// Package charts holds Kubernaut's Helm chart and the tests of what it renders:
// every pod is as restricted as Pod Security can ask, every rule of access names
// what it allows, and the network policies let through what has to talk.
package charts
