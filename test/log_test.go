package test

import (
	"bufio"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestCallsOutliveWhoReadsTheLog(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "serve", "--listen", "udp://127.0.0.1:0", "--admin", "127.0.0.1:0")
	cmd.Env, cmd.Stderr = cleanEnv(), writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	deadline := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer deadline.Stop()
	for log := bufio.NewScanner(reader); log.Scan() && !strings.Contains(log.Text(), `"serving"`); {
	}
	reader.Close()
	_ = cmd.Process.Signal(syscall.SIGTERM) // which it logs, to nobody
	if err := cmd.Wait(); err != nil {
		t.Errorf("sipvigil whose log nobody reads any more: %v", err)
	}
}
