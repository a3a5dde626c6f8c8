//go:build !linux

package ua

import "net"

// force does what only Linux can.
func force(*net.UDPConn) {}
