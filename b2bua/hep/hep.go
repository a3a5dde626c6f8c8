// Package hep sends copies of SIP messages to a capture server such as Homer,
// by version 3 of the Homer Encapsulation Protocol over UDP.
package hep

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"time"
)

// Packet is one captured message.
type Packet struct {
	At          time.Time
	TCP         bool // it came over a connection, else over UDP
	From, To    netip.AddrPort
	Agent       uint32 // who captured it
	Correlation string // the same for all messages that belong together; may be empty
	Payload     []byte // the SIP message
}

// Types of the chunks of vendor 0, as in the protocol's specification.
const (
	chunkFamily      = 0x01
	chunkProtocol    = 0x02
	chunkSource4     = 0x03
	chunkTarget4     = 0x04
	chunkSource6     = 0x05
	chunkTarget6     = 0x06
	chunkSourcePort  = 0x07
	chunkTargetPort  = 0x08
	chunkSeconds     = 0x09
	chunkMicros      = 0x0a
	chunkType        = 0x0b
	chunkAgent       = 0x0c
	chunkPayload     = 0x0f
	chunkCorrelation = 0x11
)

// Values of chunks.
const (
	familyIPv4 = 2  // AF_INET
	familyIPv6 = 10 // AF_INET6 of Linux
	typeSIP    = 1
	protoTCP   = 6
	protoUDP   = 17
)

const (
	magic       = "HEP3"
	header      = 6 // of the packet, and of each chunk
	maxDatagram = 65507
)

// ErrTooLong says that a message does not fit into a datagram with its chunks.
var ErrTooLong = errors.New("hep: message is too long for a datagram")

// Append appends the packet as it goes over the network to b.
func Append(b []byte, p *Packet) ([]byte, error) {
	start := len(b)
	b = append(b, magic...)
	b = append(b, 0, 0) // the length, once it is known
	from, to := p.From.Addr().Unmap(), p.To.Addr().Unmap()
	family, source, target := byte(familyIPv4), uint16(chunkSource4), uint16(chunkTarget4)
	if !from.Is4() || !to.Is4() {
		family, source, target = familyIPv6, chunkSource6, chunkTarget6
		from, to = netip.AddrFrom16(from.As16()), netip.AddrFrom16(to.As16())
	}
	protocol := byte(protoUDP)
	if p.TCP {
		protocol = protoTCP
	}
	b = appendChunk(b, chunkFamily, []byte{family})
	b = appendChunk(b, chunkProtocol, []byte{protocol})
	b = appendChunk(b, source, from.AsSlice())
	b = appendChunk(b, target, to.AsSlice())
	b = appendChunk(b, chunkSourcePort, binary.BigEndian.AppendUint16(nil, p.From.Port()))
	b = appendChunk(b, chunkTargetPort, binary.BigEndian.AppendUint16(nil, p.To.Port()))
	b = appendChunk(b, chunkSeconds, binary.BigEndian.AppendUint32(nil, uint32(p.At.Unix())))
	b = appendChunk(b, chunkMicros, binary.BigEndian.AppendUint32(nil, uint32(p.At.Nanosecond()/1000)))
	b = appendChunk(b, chunkType, []byte{typeSIP})
	b = appendChunk(b, chunkAgent, binary.BigEndian.AppendUint32(nil, p.Agent))
	if p.Correlation != "" {
		b = appendChunk(b, chunkCorrelation, []byte(p.Correlation))
	}
	if len(b)-start+header+len(p.Payload) > maxDatagram {
		return b[:start], ErrTooLong
	}
	b = appendChunk(b, chunkPayload, p.Payload)
	binary.BigEndian.PutUint16(b[start+len(magic):], uint16(len(b)-start))
	return b, nil
}

func appendChunk(b []byte, kind uint16, value []byte) []byte {
	b = append(b, 0, 0) // the vendor
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(header+len(value)))
	return append(b, value...)
}

// retryDial is how long a server whose name cannot be found is left alone.
const retryDial = 10 * time.Second

// Sender sends packets to one server. It is for one goroutine.
type Sender struct {
	addr   string // host:port
	conn   net.Conn
	failed time.Time
	buf    []byte
}

// NewSender returns a Sender to this host:port, which is looked up when it is
// needed.
func NewSender(addr string) *Sender { return &Sender{addr: addr} }

// Send sends one packet. Whether it arrives nobody knows: the protocol has no
// answer.
func (s *Sender) Send(p *Packet) error {
	if s.conn == nil {
		if !s.failed.IsZero() && time.Since(s.failed) < retryDial {
			return net.ErrClosed
		}
		conn, err := net.Dial("udp", s.addr)
		if err != nil {
			s.failed = time.Now()
			return err
		}
		s.conn = conn
	}
	var err error
	if s.buf, err = Append(s.buf[:0], p); err != nil {
		return err
	}
	_, err = s.conn.Write(s.buf)
	return err
}

// Close gives the socket back.
func (s *Sender) Close() {
	if s.conn != nil {
		_ = s.conn.Close()
	}
}
