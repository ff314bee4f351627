// Package environment brings up everything Kubernaut runs with: a cluster, its
// DNS, Tekton, a registry, PostgreSQL, Redis, Data Storage and the controller.
//
//	programs, recipes, chart ──► components ──► plan ──► run ──► ready, and a report
//
// A component is a step of the plan together with its work. What it provides
// and needs is derived from its manifests; what no manifest says is declared
// beside it. Every step finds its own earlier work by content, so a second Up
// changes nothing, and one that was killed goes on where it was.
package environment
