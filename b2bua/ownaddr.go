package b2bua

import (
	"net"
	"sync"
	"time"
)

const (
	ownAddrTime  = 10 * time.Second // what was found is believed for so long: addresses and routes change
	mostOwnAddrs = 4096
)

// ownAddrs knows which of our addresses the kernel uses towards a peer, for
// sockets that are bound to none. To ask it for each message would cost more
// than the message. The zero value is ready.
type ownAddrs struct {
	mu    sync.Mutex // guards what is below
	since time.Time
	found map[string]string // by host:port of the peer
}

// towards is "" when the peer cannot be reached. It sends nothing.
func (o *ownAddrs) towards(peer string, now time.Time) string {
	o.mu.Lock()
	if now.Sub(o.since) >= ownAddrTime || len(o.found) >= mostOwnAddrs {
		o.since, o.found = now, make(map[string]string)
	}
	ip, ok := o.found[peer]
	o.mu.Unlock()
	if ok {
		return ip
	}
	conn, err := net.Dial("udp", peer)
	if err != nil {
		return ""
	}
	ip = conn.LocalAddr().(*net.UDPAddr).IP.String()
	_ = conn.Close()
	o.mu.Lock()
	o.found[peer] = ip
	o.mu.Unlock()
	return ip
}
