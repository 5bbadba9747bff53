# Every target works in a fresh clone with Go and make; release wants GNU tar too.
# docs/testing.md tells what the test targets do.

GO       ?= go
BIN      ?= bin
DIST     ?= dist
FUZZTIME ?= 30s
SEEDS    ?= 1000
CRASHES  ?= 250
CHAOS    ?= 5m
ROWS     ?=
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2

PLATFORMS = linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64

# "make test" runs the race detector where goroutines meet. The tests of the
# command line and of the simulation are long and single-threaded, and those under
# test/ are about another process; "make race" takes them all. What builds the
# server by itself is never taken from the cache of test results: Go does not see
# that the server has changed.
PLAIN = ^etcd2/(cmd/etcd|internal/sim|test/.*)$$
RACED = $(shell $(GO) list ./... | grep -vE '$(PLAIN)')

EXE = $(shell $(GO) env GOEXE)

# The race detector needs a C compiler; Go turns cgo off where there is none.
RACE = $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

.PHONY: all
all: build

.PHONY: build
build: ## bin/etcd and bin/etcdctl for this machine
	$(GO) build -trimpath -o $(BIN)/etcd$(EXE) ./cmd/etcd
	$(GO) build -trimpath -o $(BIN)/etcdctl$(EXE) ./cmd/etcdctl

.PHONY: run
run: build ## serve on http://localhost:2379 with the data in ./default.etcd
	$(BIN)/etcd$(EXE)

.PHONY: test
test: ## unit tests, with the race detector where it matters, and the tests of the binary
	$(GO) vet ./...
	@$(if $(RACE),,echo "no C compiler: testing without the race detector")
	$(GO) test $(RACE) -timeout 5m $(RACED)
	$(GO) test -count=1 -timeout 5m ./cmd/etcd ./internal/sim ./test/...

.PHONY: race
race: ## everything with the race detector, the server under test too
	TEST_ETCD_RACE=1 $(GO) test -race -count=1 -timeout 20m ./...

.PHONY: lint
lint: ## staticcheck
	$(GO) run $(STATICCHECK) ./...

.PHONY: check
check: fmt vet lint layers cross docs ## what a change must pass beside its tests

.PHONY: fmt
fmt:
	@out="$$(gofmt -l $$(git ls-files '*.go'))"; \
	if [ -n "$$out" ]; then echo "gofmt -w these files:"; echo "$$out"; exit 1; fi

.PHONY: vet
vet:
	$(GO) vet ./...

.PHONY: layers
layers: ## the import ladder of docs/architecture.md
	$(GO) test ./internal/layers/...

.PHONY: docs
docs: ## run the commands that README.md and docs/ show
	$(GO) test -count=1 ./test/docs/...

.PHONY: cross
cross: ## vet for every system, tests included, and compile for every platform
	@for os in linux darwin windows; do \
		echo "vet $$os"; \
		CGO_ENABLED=0 GOOS=$$os $(GO) vet ./... || exit 1; \
	done
	@for p in $(PLATFORMS); do \
		echo "build $$p"; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/etcd || exit 1; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build -o /dev/null ./cmd/etcdctl || exit 1; \
	done

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "== $$p $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; \
	done

.PHONY: sim
sim: ## SEEDS simulated runs of a cluster
	SIM_SEEDS=$(SEEDS) $(GO) test -count=1 -timeout 60m ./internal/sim/...

.PHONY: mutants
mutants: ## plant bugs one by one, each of which a test has to find
	$(GO) run ./test/mutants

.PHONY: crash
crash: ## kill the server CRASHES times while it is written to
	CRASHES=$(CRASHES) $(GO) test -count=1 -v -timeout 30m -run '^TestKill' ./test/crash

.PHONY: chaos
chaos: ## a cluster of processes under load for CHAOS while things go wrong
	CHAOS=$(CHAOS) $(GO) test -count=1 -v -timeout 60m ./test/chaos ./test/ttl

.PHONY: bench
bench: build ## our figures beside those of an installed etcd 3.4; ROWS=put256,get256 selects
	$(GO) run ./test/bench -etcd $(BIN)/etcd$(EXE) -rows '$(ROWS)'

.PHONY: release
release: ## archives for all platforms and their checksums in dist/
	@rm -rf $(DIST) && mkdir -p $(DIST)
	@for p in $(PLATFORMS); do \
		os=$${p%/*}; arch=$${p#*/}; ext=; [ $$os = windows ] && ext=.exe; \
		name=etcd2-$(VERSION)-$$os-$$arch; \
		echo $$name; \
		mkdir -p $(DIST)/$$name; \
		for c in etcd etcdctl; do \
			CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch $(GO) build -trimpath -ldflags '-s -w' -o $(DIST)/$$name/$$c$$ext ./cmd/$$c || exit 1; \
		done; \
		cp LICENSE README.md CHANGELOG.md $(DIST)/$$name/; \
		tar -C $(DIST) --sort=name --mtime=@$$(git log -1 --format=%ct) --owner=0 --group=0 --numeric-owner -czf $(DIST)/$$name.tar.gz $$name || exit 1; \
		rm -r $(DIST)/$$name; \
	done
	@cd $(DIST) && sha256sum *.tar.gz > SHA256SUMS

.PHONY: clean
clean:
	rm -rf $(BIN) $(DIST)

.PHONY: help
help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1 - \2/p' Makefile
