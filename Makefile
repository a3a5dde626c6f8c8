# Targets for who works on sipvigil. Who only runs it needs none of them:
#   go run ./cmd/sipvigil demo

GO          ?= go
STATICCHECK  = $(GO) run honnef.co/go/tools/cmd/staticcheck@v0.8.2
FUZZTIME    ?= 3m

# Debian keeps kamailio and ip where a user's PATH does not look.
export PATH := $(PATH):/usr/sbin:/sbin

# What the tests talk to, as Debian packages: command and package in turn.
PEERS = redis-server:redis-server sipp:sip-tester baresip:baresip-core kamailio:kamailio sipsak:sipsak sngrep:sngrep ip:iproute2 \
	chromium:chromium node:nodejs npm:npm

# What the operator's page is built from, and what it is built to.
PAGE = supervisor/web/page

.PHONY: build cross test check page page-check peers fuzz bench soak load compare

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o sipvigil ./cmd/sipvigil

# It is made for Linux, and runs elsewhere.
cross:
	GOOS=darwin $(GO) vet ./...
	GOOS=windows $(GO) build -o /dev/null ./cmd/sipvigil

# Everything that must hold on main. Installs what is missing. Chromium comes last: it would take the others' time.
test: peers check page-check
	$(GO) test -race -shuffle=on -timeout 8m $$($(GO) list ./... | grep -v /test/page$$)
	$(GO) test -race -shuffle=on -timeout 6m ./test/page

check:
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags compare ./test
	$(GO) vet -tags chaos ./test
	$(STATICCHECK) ./...

# The page that is embedded. Who builds sipvigil needs none of this.
page: $(PAGE)/src/node_modules
	cd $(PAGE)/src && npm run --silent build

# The page in the repository is what its sources make.
page-check: $(PAGE)/src/node_modules
	@dir=$$(mktemp -d); trap "rm -r $$dir" EXIT; \
	(cd $(PAGE)/src && OUT=$$dir npm run --silent build) && \
	for f in page.js page.css; do cmp $$dir/$$f $(PAGE)/$$f || { echo "$(PAGE)/$$f is not what its sources make: run make page"; exit 1; }; done

$(PAGE)/src/node_modules: $(PAGE)/src/package-lock.json
	cd $(PAGE)/src && npm ci --silent
	@touch $@

peers:
	@missing=; for p in $(PEERS); do command -v $${p%%:*} >/dev/null || test -d $${p%%:*} || missing="$$missing $${p##*:}"; done; \
	[ -z "$$missing" ] && exit 0; \
	if ! command -v apt-get >/dev/null; then \
		echo "The tests need these programs; please install the packages (Debian's names):$$missing"; exit 1; fi; \
	sudo=; [ $$(id -u) = 0 ] || sudo=sudo; \
	echo "installing$$missing"; \
	$$sudo apt-get update -q && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -q -y --no-install-recommends $$missing

# Longer looks for inputs that break a parser; make test runs the seeds only.
# Making each new input smaller takes the whole time where nothing bounds it.
fuzz:
	@for pkg in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "== $$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x $$pkg || exit 1; \
		done; \
	done

# Ten rounds, to be read by benchstat.
bench:
	$(GO) test -run '^$$' -bench . -benchmem -count 10 ./...

# Outages as long as they are in life: Redis is gone for a minute, then for ten, during hundreds of calls of three nodes.
# Then random trouble for nodes and Redis, Sentinel, a Cluster: three minutes each. A seed that is given makes it again.
soak: peers
	for outage in 1m 10m; do \
		$(GO) test -race -run '^TestRedisThatComesBackEmptyIsToldOfAllCallsOfAllNodes$$' -count 1 -timeout 20m -v ./test -outage $$outage || exit 1; \
	done
	$(GO) test -tags chaos -race -run '^TestChaos' -count 1 -timeout 40m -v ./test -chaos 3m

# What kamailio needs to keep its dialogs in Redis, by a directory of that package.
compare load: PEERS += /usr/share/kamailio/db_redis:kamailio-redis-modules

# What a call and a probe cost, through sipvigil and through kamailio: about eighteen minutes.
load: peers
	$(GO) test -tags compare -run '^TestCompareLoad' -count 1 -timeout 30m -v ./test

# The same, and the same outages through both, side by side: three minutes more. Loopback only.
compare: peers
	$(GO) test -tags compare -run '^TestCompare' -count 1 -timeout 40m -v ./test
