package dialog

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/netip"
	"slices"
)

// Flow is the way by which a far end reached us, and by which it can be reached
// in turn when its Contact leads nowhere: RFC 5626 section 3.1.
type Flow struct {
	Transport string         // udp, tcp, tls, ws, wss
	Local     netip.AddrPort // our socket
	Peer      netip.AddrPort // where the far end was seen
	Believed  bool           // it is to be reached at its Contact all the same
}

// transports are numbered in tokens: only the end of the list may grow.
var transports = []string{"", "udp", "tcp", "tls", "ws", "wss"}

// believed is added to the number.
const believed = 0x80

// flowCheckSize is that of RFC 5626 section 5.2: 80 bits.
const flowCheckSize = 10

// MintFlow makes a token of a flow that names it by itself, as RFC 5626 section
// 5.2 asks, and carries a check that only holders of key can make. It is text
// that a URI's user part may hold.
func MintFlow(key []byte, f Flow) string {
	raw := []byte{byte(max(slices.Index(transports, f.Transport), 0))}
	if f.Believed {
		raw[0] |= believed
	}
	raw = appendAddr(appendAddr(raw, f.Local), f.Peer)
	return tagEncoding.EncodeToString(append(raw, flowCheck(key, raw)...))
}

// ReadFlow says which flow a token names; false when the token was not made by
// [MintFlow] with this key. How long it takes does not tell how much of the
// check was right.
func ReadFlow(key []byte, token string) (Flow, bool) {
	if len(token) > maxFlowToken {
		return Flow{}, false
	}
	all, err := tagEncoding.DecodeString(token)
	// One token has one spelling: the decoder takes more.
	if err != nil || len(all) <= flowCheckSize || tagEncoding.EncodeToString(all) != token {
		return Flow{}, false
	}
	raw, sum := all[:len(all)-flowCheckSize], all[len(all)-flowCheckSize:]
	if !hmac.Equal(sum, flowCheck(key, raw)) {
		return Flow{}, false
	}
	return decodeFlow(raw)
}

// maxFlowToken is a token with two IPv6 addresses, and room to spare.
const maxFlowToken = 128

// flowCheck differs from the check of a tag for the same bytes.
func flowCheck(key, raw []byte) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte("flow\n"))
	mac.Write(raw)
	return mac.Sum(nil)[:flowCheckSize]
}

func decodeFlow(raw []byte) (f Flow, ok bool) {
	n := int(raw[0] &^ believed)
	if n >= len(transports) {
		return Flow{}, false
	}
	f.Transport, f.Believed = transports[n], raw[0]&believed != 0
	raw = raw[1:]
	if f.Local, raw, ok = cutAddr(raw); !ok {
		return Flow{}, false
	}
	f.Peer, raw, ok = cutAddr(raw)
	return f, ok && len(raw) == 0
}

// appendAddr writes the length of the address, the address and the port.
func appendAddr(b []byte, a netip.AddrPort) []byte {
	ip := a.Addr().Unmap().AsSlice()
	b = append(append(b, byte(len(ip))), ip...)
	return append(b, byte(a.Port()>>8), byte(a.Port()))
}

func cutAddr(b []byte) (a netip.AddrPort, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0])+2 {
		return a, nil, false
	}
	n := int(b[0])
	ip, ok := netip.AddrFromSlice(b[1 : 1+n])
	port := uint16(b[1+n])<<8 | uint16(b[2+n])
	return netip.AddrPortFrom(ip, port), b[3+n:], ok
}
