// Command payment is the broken service of the demonstration: it serves HTTP,
// and fills a cache whose size is more than its memory limit allows. There is
// nothing wrong with the program but that limit.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	address := flag.String("listen", ":8080", "address to serve on")
	megabytes := flag.Int("cache", 96, "size of the cache in MiB")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *address, *megabytes); err != nil {
		log.Fatal("payment: ", err)
	}
}

// run serves until ctx ends. It is ready when the cache is filled.
func run(ctx context.Context, address string, megabytes int) error {
	var ready atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			http.Error(w, "filling the cache", http.StatusServiceUnavailable)
			return
		}
		_, _ = fmt.Fprintln(w, "ready")
	})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })

	var cache [][]byte
	go func() {
		cache = fill(megabytes)
		log.Printf("the cache holds %d MiB", len(cache))
		ready.Store(true)
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

// fill takes megabytes MiB of memory and writes to every page, so that the
// kernel has to provide it.
func fill(megabytes int) [][]byte {
	cache := make([][]byte, 0, megabytes)
	for range megabytes {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		cache = append(cache, block)
	}
	return cache
}
