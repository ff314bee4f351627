# Kubernaut. `make help` lists what there is; two targets do everything:
#   make demo    a real cluster, a broken Deployment, a remedy, the audit trail
#   make test    all tests on this machine, but what takes hours (make test-full)

SHELL       := /bin/bash -o pipefail
export CGO_ENABLED := 0
export GOFLAGS     := -trimpath -buildvcs=false
TALLY       := go run ./test/tally
# What tests leave for whoever looks at a failure: reports, diagnoses.
export KUBERNAUT_ARTEFACTS ?= $(CURDIR)/bin/artefacts
KUBERNAUT   := bin/kubernaut

.DEFAULT_GOAL := help
.PHONY: help demo down test test-full unit bench bench-env soak verify lint generate build deps root

help: ## what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile

demo: root build ## set everything up and heal a broken Deployment; ends with a running environment
	$(KUBERNAUT) demo

down: build ## remove the environment; nothing stays but the cache
	$(KUBERNAUT) env down

unit: ## tests of the pure packages, in seconds
	go test -short -json ./... | $(TALLY)

test: root build ## all tests: unit, integration on real servers, end to end on the local cluster
	$(KUBERNAUT) env build
	go test -json -p 1 -timeout 60m ./... | $(TALLY)

test-full: root build ## also what takes long: all faults, soaks, fuzzing
	$(KUBERNAUT) env build
	KUBERNAUT_TEST=full go test -json -p 1 -timeout 8h ./... | $(TALLY)
	@for file in $$(git grep -l '^func Fuzz' -- '*_test.go'); do for name in $$(sed -n 's/^func \(Fuzz[A-Za-z]*\).*/\1/p' $$file); do \
		go test -run '^$$' -fuzz "^$$name$$" -fuzztime 1m ./$$(dirname $$file) || exit 1; done; done

# What the measures are taken beside; the environment may ask for fewer.
bench: export KUBERNAUT_BENCH_FINISHED ?= 50000
bench: export KUBERNAUT_BENCH_EVENTS ?= 5000000
bench: root build ## measures, each beside its limit: with 50,000 finished executions, 5,000,000 events
	$(KUBERNAUT) env build
	go test -run '^$$' -bench . -benchtime 1x -p 1 -timeout 180m ./...

bench-env: root build ## how long a warm environment takes to come up, three times; the numbers are kept
	$(KUBERNAUT) env build
	go test -run '^$$' -bench EnvironmentUp -benchtime 3x -timeout 30m ./test/bringup

soak: deps ## ten minutes of random crashes and broken connections around Data Storage
	KUBERNAUT_SOAK=10m go test -json -run TestSoak -timeout 30m ./cmd/datastorage | $(TALLY)

verify: generate lint ## generated files up to date, formatting, lint, the import rule
	@git diff --exit-code --stat -- . || { echo "verify: generated or formatted files differ from what is committed (see above): run 'make generate' and commit"; exit 1; }
	@new="$$(git ls-files --others --exclude-standard -- charts/kubernaut/crds '*zz_generated*' '*.gen.go')"; [ -z "$$new" ] || { echo "verify: generated and not committed:"; echo "$$new"; exit 1; }
	@! git grep -nE '^(<<<<<<<|>>>>>>>)( |$$)' || { echo 'verify: marks of a merge were committed (see above)'; exit 1; }
	go test -short -run Import ./test/imports

lint: ## vet and golangci-lint
	go vet ./...
	cd tools/lint && go build -o ../../bin/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	bin/golangci-lint run --allow-parallel-runners ./...

generate: ## deepcopy functions, CRDs, the HTTP contract's code
	go generate ./...
	gofmt -l -w $$(git ls-files '*.go')

build: deps ## bin/kubernaut, with progress; everything else it builds itself, once, into the cache
	@mkdir -p bin
	@go build -v -o $(KUBERNAUT) ./cmd/kubernaut 2>&1 | tools/compiling kubernaut "$$(go list -deps ./cmd/kubernaut | wc -l)"

# Told before anything is compiled.
root:
	@[ "$$(id -u)" = 0 ] || { echo "make $(MAKECMDGOALS): run it as root (sudo): a Kubernetes node is made of namespaces, mounts and control groups"; exit 1; }

# Debian starts a server when it installs one; nobody asked for that here, so a
# policy-rc.d says no for as long as the installation takes.
deps: ## the Debian packages of packages.txt
	@dpkg-query -W $$(cat packages.txt) >/dev/null 2>&1 && exit 0; \
	[ "$$(id -u)" = 0 ] || { echo "make deps: install these Debian packages as root: $$(tr '\n' ' ' < packages.txt)"; exit 1; }; \
	policy=/usr/sbin/policy-rc.d; \
	[ -e $$policy ] || { trap "rm -f $$policy" EXIT; printf '#!/bin/sh\nexit 101\n' > $$policy; chmod +x $$policy; }; \
	apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $$(cat packages.txt)
