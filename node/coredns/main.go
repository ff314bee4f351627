// Command coredns is a CoreDNS with only the plugins one cluster needs.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"      // fewer questions to the API server
	_ "github.com/coredns/coredns/plugin/errors"     // log what went wrong
	_ "github.com/coredns/coredns/plugin/health"     // liveness
	_ "github.com/coredns/coredns/plugin/kubernetes" // the zone of the cluster
	_ "github.com/coredns/coredns/plugin/log"        // query log, when asked for
	_ "github.com/coredns/coredns/plugin/ready"      // readiness
)

func main() {
	// The order in which plugins see a query; the list of upstream names many more.
	dnsserver.Directives = []string{"health", "ready", "errors", "log", "cache", "kubernetes"}
	coremain.Run()
}
