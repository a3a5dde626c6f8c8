package ua

import (
	"net"
	"syscall"
)

// force gives a socket its read buffer whatever net.core.rmem_max is, where we may:
// with what most machines have there, hundreds of calls lose what comes while the
// machine is busy with something else.
func force(conn *net.UDPConn) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, socketBuffer)
	})
}
