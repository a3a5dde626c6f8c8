//go:build !linux

package b2bua

import (
	"net"
	"net/netip"
)

// errorQueue would read ICMP errors; there is none here.
type errorQueue struct{}

func newErrorQueue(net.PacketConn) *errorQueue { return nil }

func (*errorQueue) pending(error) bool { return false }

func (*errorQueue) drain(func(netip.AddrPort, []byte, string)) {}
