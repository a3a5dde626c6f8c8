package b2bua_test

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"sipvigil/store"
)

// What this process lacks says nothing about the far end.
func TestAProbeForWhichThereIsNoDescriptorIsNoSignOfDeath(t *testing.T) {
	for _, lack := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL} {
		overTCP(t, func(w *world) {
			w.connect()
			_ = w.alice.stream.Close()
			pass(time.Second)
			w.obs.heard()
			w.agent.DialWith(func(context.Context, string, string) (net.Conn, error) {
				return nil, &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("socket", lack)}
			})
			w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
			w.heard("probe caller OPTIONS: unsent for want of a network")
		})
	}
}
