package main

import (
	"strings"
	"testing"

	"sipvigil/store/storetest"
)

func TestDoctor(t *testing.T) {
	url, server := storetest.Redis(t, "--appendonly", "yes")
	wantRun(t, run(t, "", "doctor", "--store", url), ran{Out: "The store's settings are as they should be.\n"})
	wantRun(t, run(t, "", "doctor"), ran{Out: "The embedded store has no settings to look at.\n"})

	badURL, bad := storetest.Redis(t)
	wantRun(t, run(t, "", "doctor", "--store", badURL), ran{Code: exitFailed,
		Errors: "sipvigil: redis " + bad.Addr() + ": appendonly is no: a Redis that restarts has lost calls; set it to yes\n"})

	server.Stop()
	got := run(t, "", "doctor", "--store", url)
	if got.Code != exitFailed || !strings.Contains(got.Errors, "the store cannot be asked: redis "+server.Addr()) {
		t.Errorf("without a store: %+v", got)
	}
	if got := run(t, "", "doctor", "--store", "http://x"); got.Code != exitUsage {
		t.Errorf("with a faulty configuration: %+v", got)
	}
}
