package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/supervisor/web"
)

// pinger sends OPTIONS on behalf of an operator.
type pinger struct {
	agent   *b2bua.Agent
	service *service // knows the trunks; nil: there are none
}

// Targets implements [web.Pinger].
func (p *pinger) Targets(trunk string) ([]string, error) {
	t, ok := p.service.trunks[trunk]
	if !ok {
		return nil, fmt.Errorf("trunk %s: %w", trunk, store.ErrNotFound)
	}
	return t.Targets, nil
}

// Ping implements [web.Pinger].
func (p *pinger) Ping(ctx context.Context, target string, timeout time.Duration) web.Pinged {
	f := p.agent.Inquire(ctx, target, timeout)
	got := web.Pinged{
		Target: target, Kind: "answered", Status: f.Status, Phrase: f.Phrase, Reason: f.Reason, RTT: web.Millis(f.RTT),
		Transport: f.Hop.Transport, From: f.From, Seen: f.Seen, Server: f.Server, Contact: f.Contact,
		Can:   web.CanOf(f.Can.Allow, f.Can.Supported),
		Allow: f.Can.Allow, Supported: f.Can.Supported, Accept: f.Can.Accept,
		Encodings: f.Can.Encodings, Languages: f.Can.Languages, Codecs: f.Can.Codecs,
	}
	if f.Hop.Addr.IsValid() {
		got.Peer = f.Hop.Addr.String()
	}
	switch f.Kind {
	case b2bua.NoReply:
		got.Kind = "timeout"
	case b2bua.Unsent:
		got.Kind = "unsent"
	}
	return got
}

// Pinging runs f with a pinger of its own, without a daemon: it has sockets on
// free ports, knows no trunks, takes no calls, and ends with f.
func Pinging(ctx context.Context, f func(ctx context.Context, ping web.Pinger) error) error {
	packets, streams, err := pingSockets()
	if err != nil {
		return err
	}
	cfg := b2bua.Default()
	cfg.Unknown = b2bua.UnknownDrop
	cfg.TLS = func() *tls.Config { return new(tls.Config) }
	agent, err := b2bua.New(cfg, nobody{}, nobody{}, zap.NewNop(), prometheus.NewRegistry())
	if err != nil {
		return err
	}
	agent.Drain()
	serving, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(serving, packets, streams) }()
	err = f(ctx, &pinger{agent: agent})
	stop()
	return errors.Join(err, <-ended)
}

// pingSockets are one socket of UDP for each version of IP that this host has,
// and what stands for one of TCP: connections are only made, not taken.
func pingSockets() (packets []net.PacketConn, streams []b2bua.Listener, err error) {
	for _, family := range []string{"4", "6"} {
		conn, failed := net.ListenPacket("udp"+family, ":0")
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		packets = append(packets, conn)
		addr := conn.LocalAddr().(*net.UDPAddr)
		closed := &deaf{addr: net.TCPAddr{IP: addr.IP, Port: addr.Port}, closed: make(chan struct{})}
		streams = append(streams, b2bua.Listener{Listener: closed, Transport: "tcp"})
	}
	if len(packets) > 0 {
		err = nil // one version of IP is enough
	}
	return packets, streams, err
}

// deaf is a listener that nobody can connect to.
type deaf struct {
	addr   net.TCPAddr
	closed chan struct{}
}

func (d *deaf) Accept() (net.Conn, error) { <-d.closed; return nil, net.ErrClosed }
func (d *deaf) Close() error              { close(d.closed); return nil }
func (d *deaf) Addr() net.Addr            { return &d.addr }

// nobody keeps no calls, and is told of none.
type nobody struct{}

func (nobody) Save(store.Call)                                         {}
func (nobody) Reserve(string, store.Side, uint32, func(uint32))        {}
func (nobody) Finish(store.Call, time.Duration)                        {}
func (nobody) Status() store.Status                                    { return store.Status{Reachable: true} }
func (nobody) Started(store.Call)                                      {}
func (nobody) Confirmed(store.Call)                                    {}
func (nobody) Evidence(string, store.Side, store.Evidence)             {}
func (nobody) Answered(...store.Reply)                                 {}
func (nobody) Disturbed(id string, side store.Side, why string)        {}
func (nobody) Calibrated(id string, side store.Side, ans store.Answer) {}
func (nobody) Ending(id string, end store.End)                         {}
func (nobody) Ended(store.Call)                                        {}
