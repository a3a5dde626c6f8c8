package ua

import (
	"fmt"
	"net"
	"net/netip"
)

// wire carries messages: a UDP socket, or a TCP listener with its connections.
type wire interface {
	local() netip.AddrPort
	// send carries a message to an address, over a connection if there must be one.
	send(to netip.AddrPort, raw []byte) error
	// run reads until close.
	run()
	close()
}

// source is where a message came from and how an answer goes back.
type source struct {
	addr   netip.AddrPort
	stream *stream // nil for UDP
}

// receiver gets every message of one peer in order, and may not keep raw.
type receiver func(raw []byte, from source)

// openWire binds the socket.
func openWire(cfg Config, t *tasks, receive receiver) (wire, error) {
	switch cfg.Transport {
	case "udp":
		return openUDP(cfg.Addr, receive)
	case "tcp", "tls", "ws", "wss":
		return openTCP(cfg.Transport, cfg.Addr, cfg.TLS, t, receive)
	}
	return nil, fmt.Errorf("transport %q is none of udp, tcp, tls, ws and wss", cfg.Transport)
}

func isWeb(transport string) bool { return transport == "ws" || transport == "wss" }

// socketBuffer holds the bursts of a few thousand dialogs.
const socketBuffer = 4 << 20

type udpWire struct {
	conn    *net.UDPConn
	receive receiver
}

func openUDP(addr string, receive receiver) (*udpWire, error) {
	at, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, err
	}
	conn, err := net.ListenUDP("udp", at)
	if err != nil {
		return nil, err
	}
	// Smaller buffers only lose more datagrams, which SIP repeats.
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	force(conn)
	return &udpWire{conn: conn, receive: receive}, nil
}

func (w *udpWire) local() netip.AddrPort {
	return unmap(w.conn.LocalAddr().(*net.UDPAddr).AddrPort())
}

func (w *udpWire) send(to netip.AddrPort, raw []byte) error {
	_, err := w.conn.WriteToUDPAddrPort(raw, to)
	return err
}

func (w *udpWire) run() {
	buffer := make([]byte, 65536)
	for {
		n, from, err := w.conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return // closed: an unconnected socket has no other lasting error
		}
		w.receive(buffer[:n], source{addr: unmap(from)})
	}
}

func (w *udpWire) close() { _ = w.conn.Close() }
