.DEFAULT_GOAL := help
.PHONY: help up build test bench pictures simulate mutants torture differential integrity probes big format clean pack
SHELL := /bin/sh

help: ## show this
	@echo "mootfs: a directory that several machines share and decide on together"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: build ## three nodes on this machine, mounted at ./mnt/n1 … n3, until Ctrl-C (install and build first)
	@dist/src/cli/mootfs up

test: node_modules/.package-lock.json ## install, build and pass everything
	@sh scripts/test.sh

build: node_modules/.package-lock.json ## install and build
	@npm run --silent build

bench: build ## measure commits, the mount, failover and memory, beside the local disk; prints tables
	@node dist/scripts/bench/main.js

simulate: build ## simulated worlds full of faults: SEEDS=500, FROM=a seed, or SEED=the one to see again
	@node dist/test/sim/main.js $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),500) $(if $(FROM),--from $(FROM)))

pictures: build ## make the README's pictures of the page and the console (needs chromium)
	@node dist/scripts/pictures.js

mutants: build ## the simulation tested: mistakes made on purpose, and how many worlds it takes to find each
	@node dist/test/sim/mutants/main.js --seeds $(or $(SEEDS),1000)

torture: build ## real nodes and mounts, tormented for MOOTFS_TORTURE_SECONDS (600); needs root
	@node dist/scripts/torture/main.js

integrity: build ## programs on two mounts held against a model, for MOOTFS_INTEGRITY_SECONDS (600); as root
	@node dist/scripts/integrity/main.js

probes: build ## is what one mount has changed seen at once through another? PROBES (100000) times; as root
	@node dist/scripts/probes/main.js

big: build ## a directory with ENTRIES (1000000) files: how fast, in how much memory? as root
	@node dist/scripts/big/main.js

differential: build ## random system calls on mounts and on a local directory, for an hour (as root)
	@MOOTFS_DIFFERENTIAL_SECONDS=$${MOOTFS_DIFFERENTIAL_SECONDS:-3600} \
	  MOOTFS_DIFFERENTIAL_SEED=$${MOOTFS_DIFFERENTIAL_SEED:-$$(date +%s)} \
	  TAP_TIMEOUT=0 node dist/test/differential/differential.test.js

format: node_modules/.package-lock.json ## format and lint the sources
	@npm run --silent format

pack: build ## make the tarball for npm install -g
	@npm pack

clean: ## remove what was built (not ./data)
	@rm -rf dist .tap *.tgz

node_modules/.package-lock.json: package.json package-lock.json
	@# Not `npm ci`: it refuses a lock file that does not list the other platforms' optional packages.
	@npm install --no-save --no-audit --no-fund --loglevel=error
	@sh scripts/native.sh
	@touch $@
