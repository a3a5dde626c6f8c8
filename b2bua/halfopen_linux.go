package b2bua

import (
	"net"

	"golang.org/x/sys/unix"
)

// boundSilence has a connection closed whose far end has not acknowledged what it
// was sent for so long: TCP_USER_TIMEOUT of tcp(7). The kernel would go on for a
// quarter of an hour otherwise, and asks after no far end meanwhile.
func boundSilence(conn *net.TCPConn) {
	if raw, err := conn.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(unheard.Milliseconds()))
		})
	}
}
