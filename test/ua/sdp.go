package ua

import (
	"fmt"
	"strings"
)

// Media describes the one audio stream of a session. Its zero value, but for
// the port, offers PCMU and PCMA on the loopback address in both directions.
type Media struct {
	Port      int
	Address   string // 127.0.0.1 when empty
	Direction string // sendrecv when empty; sendonly puts the other side on hold
	Version   int    // must rise with each new offer in a dialog: RFC 3264 section 8
}

// String is the session description in SDP (RFC 8866).
func (m Media) String() string {
	address, direction := m.Address, m.Direction
	if address == "" {
		address = "127.0.0.1"
	}
	if direction == "" {
		direction = "sendrecv"
	}
	family := "IP4"
	if strings.Contains(address, ":") {
		family = "IP6"
	}
	return fmt.Sprintf("v=0\r\n"+
		"o=- %d %d IN %s %s\r\n"+
		"s=-\r\n"+
		"c=IN %s %s\r\n"+
		"t=0 0\r\n"+
		"m=audio %d RTP/AVP 0 8 101\r\n"+
		"a=rtpmap:0 PCMU/8000\r\n"+
		"a=rtpmap:8 PCMA/8000\r\n"+
		"a=rtpmap:101 telephone-event/8000\r\n"+
		"a=fmtp:101 0-16\r\n"+
		"a=ptime:20\r\n"+
		"a=%s\r\n",
		m.Port, m.Version+1, family, address, family, address, m.Port, direction)
}

// SDP is a session description with one audio stream at this port of the
// loopback address.
func SDP(port int) string { return Media{Port: port}.String() }
