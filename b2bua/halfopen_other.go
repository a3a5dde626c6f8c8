//go:build !linux

package b2bua

import "net"

// boundSilence leaves it to the kernel how long it sends again.
func boundSilence(*net.TCPConn) {}
