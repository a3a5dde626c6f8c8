//go:build !linux

package b2bua

import (
	"net"
	"net/netip"
	"time"
)

// udpSocket would be read in bunches; there is none here.
type udpSocket struct {
	net.PacketConn
	answered int // of no use
	dropped  uint32
}

func newUDPSocket(net.PacketConn, func() bool) *udpSocket { return nil }

func (*udpSocket) read() (data []byte, from netip.AddrPort, at time.Time, err error) { return }

func (*udpSocket) more() bool { return false }

func (*udpSocket) send([]byte, netip.AddrPort) error { return net.ErrClosed }

func (*udpSocket) sendAll([]packet) (sent int, err error) { return 0, net.ErrClosed }
