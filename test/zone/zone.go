// Package zone is a scripted DNS server for tests: it answers from records in
// the text form of zone files, falls silent, and says what a test wants it to.
package zone

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Zone is one server. All its methods may be called concurrently.
type Zone struct {
	mu      sync.Mutex // guards what is below
	records []dns.RR
	asked   []string
	silent  bool
	reply   func(q *dns.Msg) *dns.Msg
}

// New makes a server with records such as "a.example. 60 IN A 192.0.2.1", one a
// line. It panics when it cannot read them.
func New(records string) *Zone {
	z := new(Zone)
	z.Set(records)
	return z
}

// Set replaces all records.
func (z *Zone) Set(records string) {
	var all []dns.RR
	for p := dns.NewZoneParser(strings.NewReader(records), ".", ""); ; {
		r, ok := p.Next()
		if !ok {
			if err := p.Err(); err != nil {
				panic(fmt.Sprintf("zone: %v", err))
			}
			break
		}
		all = append(all, r)
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.records = all
}

// Silence has the server receive, and answer nothing, until Speak.
func (z *Zone) Silence() { z.mu.Lock(); defer z.mu.Unlock(); z.silent = true }

// Speak ends Silence.
func (z *Zone) Speak() { z.mu.Lock(); defer z.mu.Unlock(); z.silent = false }

// Reply has f answer in place of the records; nil answers nothing. Reply(nil)
// returns to them.
func (z *Zone) Reply(f func(q *dns.Msg) *dns.Msg) { z.mu.Lock(); defer z.mu.Unlock(); z.reply = f }

// Asked is what was asked since the last time: "carrier.example NAPTR".
func (z *Zone) Asked() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	asked := z.asked
	z.asked = nil
	return asked
}

// Answer is what the records say: the aliases on the way and what they lead to.
func (z *Zone) Answer(q *dns.Msg) *dns.Msg {
	z.mu.Lock()
	defer z.mu.Unlock()
	m := new(dns.Msg).SetReply(q)
	owner, exists := q.Question[0].Name, false
	for range 20 {
		next := ""
		for _, r := range z.records {
			h := r.Header()
			if !strings.EqualFold(h.Name, owner) {
				continue
			}
			exists = true
			if c, ok := r.(*dns.CNAME); ok && q.Question[0].Qtype != dns.TypeCNAME {
				next = c.Target
			} else if h.Rrtype != q.Question[0].Qtype {
				continue
			}
			m.Answer = append(m.Answer, r)
		}
		if owner = next; owner == "" {
			break
		}
	}
	if !exists {
		m.Rcode = dns.RcodeNameError
	}
	if len(m.Answer) == 0 {
		for _, r := range z.records {
			if r.Header().Rrtype == dns.TypeSOA {
				m.Ns = append(m.Ns, r)
			}
		}
	}
	return m
}

// respond notes a question and finds its answer.
func (z *Zone) respond(q *dns.Msg) *dns.Msg {
	z.mu.Lock()
	name := strings.TrimSuffix(q.Question[0].Name, ".")
	z.asked = append(z.asked, name+" "+dns.TypeToString[q.Question[0].Qtype])
	silent, reply := z.silent, z.reply
	z.mu.Unlock()
	switch {
	case silent:
		return nil
	case reply != nil:
		return reply(q)
	}
	return z.Answer(q)
}

// Dial connects to the server without a socket, so that it works in a bubble of
// fake time. Both networks look like a stream.
func (z *Zone) Dial(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() {
		defer ours.Close()
		c := &dns.Conn{Conn: ours}
		q, err := c.ReadMsg()
		if err != nil {
			return
		}
		if m := z.respond(q); m != nil {
			_ = c.WriteMsg(m) // the other side may have gone
			return
		}
		_, _ = c.ReadMsg() // until the other side gives up
	}()
	return theirs, nil
}

// Listen serves UDP and TCP on a free port of 127.0.0.1 until stop is called.
func (z *Zone) Listen() (addr string, stop func(), err error) {
	packets, streams, err := bind()
	if err != nil {
		return "", nil, err
	}
	addr = packets.LocalAddr().String()
	var serving sync.WaitGroup
	handler := dns.HandlerFunc(z.serve)
	serving.Go(func() { _ = (&dns.Server{PacketConn: packets, Handler: handler}).ActivateAndServe() })
	serving.Go(func() { _ = (&dns.Server{Listener: streams, Handler: handler}).ActivateAndServe() })
	return addr, func() { _ = packets.Close(); _ = streams.Close(); serving.Wait() }, nil
}

// bind takes a port that is free for both transports: one that is free for UDP
// may be somebody's over TCP.
func bind() (packets net.PacketConn, streams net.Listener, err error) {
	for range 100 {
		if packets, err = net.ListenPacket("udp4", "127.0.0.1:0"); err != nil {
			return nil, nil, err
		}
		if streams, err = net.Listen("tcp4", packets.LocalAddr().String()); err == nil {
			return packets, streams, nil
		}
		_ = packets.Close()
	}
	return nil, nil, err
}

// serve answers over UDP with as much as the other side takes.
func (z *Zone) serve(w dns.ResponseWriter, q *dns.Msg) {
	m := z.respond(q)
	if m == nil {
		return
	}
	if w.LocalAddr().Network() == "udp" {
		size := dns.MinMsgSize
		if opt := q.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		m.Truncate(size)
	}
	_ = w.WriteMsg(m) // the other side may have gone
}
