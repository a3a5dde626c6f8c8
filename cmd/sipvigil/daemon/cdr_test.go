package daemon

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// recorded runs a file over lines, and returns what it logged.
func recorded(t *testing.T, cfg CDR, lines ...string) []string {
	core, logs := observer.New(zap.InfoLevel)
	f := newCDRFile(cfg, zap.New(core))
	for _, line := range lines {
		f.record([]byte(line + "\n"))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // what is queued is written all the same
	f.run(ctx)
	var messages []string
	for _, e := range logs.All() {
		messages = append(messages, e.Level.String()+": "+e.Message)
	}
	return messages
}

func TestRecordsAreAppendedToTheirFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "cdr.jsonl")
	recorded(t, CDR{File: path, MaxMB: 1}, "one", "two")
	recorded(t, CDR{File: path, MaxMB: 1}, "three")
	b, err := os.ReadFile(path)
	if err != nil || string(b) != "one\ntwo\nthree\n" {
		t.Errorf("%v: %q", err, b)
	}
}

func TestAFileThatIsFullIsKeptBesideTheNewOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cdr.jsonl")
	line := strings.Repeat("x", 300_000)
	recorded(t, CDR{File: path, MaxMB: 1}, line, line, line, line)
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "cdr*.jsonl"))
	if err != nil || len(files) != 2 {
		t.Errorf("%v: files are %q, want two", err, files)
	}
}

func TestAFileThatCannotBeWrittenIsReportedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	got := recorded(t, CDR{File: filepath.Join(path, "cdr.jsonl"), MaxMB: 1}, "one", "two")
	want := []string{"error: call detail records are lost: look at the disk, and at who may write to the directory"}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("log (-want +got):\n%s", d)
	}
}

func TestAFileThatCannotBeWrittenIsAFaultOfTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	test := func(file, want string) {
		t.Helper()
		cfg := Default()
		cfg.SIP.Listen, cfg.Admin.Listen, cfg.CDR.File = []string{"udp://127.0.0.1:0"}, "127.0.0.1:0", file
		d, err := New(cfg, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Listen(); fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", file, err, want)
		} else if err == nil {
			d.close()
			_ = d.admin.Close()
		}
	}
	test(path, "<nil>")
	test(filepath.Join(path, "cdr.jsonl"), "cdr.file: mkdir "+path+": not a directory")
	test(filepath.Dir(path), "cdr.file: open "+filepath.Dir(path)+": is a directory")
}

func TestRecordingNeverWaits(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	f := newCDRFile(CDR{File: filepath.Join(t.TempDir(), "cdr.jsonl"), MaxMB: 1}, zap.New(core))
	for i := range cdrQueue + 3 { // nobody writes
		f.record([]byte(fmt.Sprintln(i)))
	}
	if f.lost != 3 || logs.Len() != 1 {
		t.Errorf("%d are lost, and %d lines logged, want 3 and 1", f.lost, logs.Len())
	}
}
