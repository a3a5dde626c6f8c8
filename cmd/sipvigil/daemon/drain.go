package daemon

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// drainTime bounds how long a node that is told to stop waits for calls that
// are being set up or ended: no other node could go on with these.
const drainTime = 10 * time.Second

// drained returns a context that ends after ctx, when calls can be handed over:
// at once when nobody is there who could take them.
func (d *Daemon) drained(ctx context.Context) context.Context {
	if d.member == nil {
		return ctx
	}
	done, stop := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() {
		defer stop()
		d.drain(done)
	})
	return done
}

func (d *Daemon) drain(ctx context.Context) {
	if d.member.lease.Load().alone {
		return
	}
	d.agent.Drain()
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	task := d.progress.Begin(store.TaskDrain, "node "+d.cfg.Node, d.agent.Unsettled())
	defer task.End()
	d.member.drain(ctx)
	start := time.Now()
	for n := d.agent.Unsettled(); n > 0 && ctx.Err() == nil; n = d.agent.Unsettled() {
		task.Left(n)
		select {
		case <-ctx.Done():
			d.log.Warn("stopping with calls that are being set up or ended", zap.Int("calls", n))
		case <-time.After(100 * time.Millisecond):
		}
	}
	task.Left(d.agent.Unsettled())
	d.log.Info("drained, other nodes may take the calls", zap.Int("calls", d.agent.Count()), zap.Duration("took", time.Since(start)))
}

// drain tells the other nodes that this one is about to stop.
func (m *member) drain(ctx context.Context) {
	m.draining.Store(true)
	if err := m.renew(ctx); err != nil {
		m.log.Debug("the others do not know that this node stops", zap.Error(err))
	}
}

// leave frees the calls of this node once all is written. Nothing may be sent
// inside a call any more.
func (m *member) leave() {
	m.renewing.Lock()
	defer m.renewing.Unlock()
	m.Leave(m.epoch)
}

// sipAddr is where other nodes reach our SIP: the first UDP socket. One that is
// bound to every address is reached by the one that leads to the store.
func (d *Daemon) sipAddr() string {
	for _, conn := range d.packets {
		ap, err := netip.ParseAddrPort(conn.LocalAddr().String())
		if err != nil {
			continue
		}
		if !ap.Addr().IsUnspecified() {
			return ap.String()
		}
		if ip, ok := localAddr(d.cfg.Store.URL); ok && ip.Is4() == ap.Addr().Unmap().Is4() {
			return netip.AddrPortFrom(ip, ap.Port()).String()
		}
	}
	return ""
}

// localAddr is the address of this host that packets to the store leave from.
func localAddr(store string) (netip.Addr, bool) {
	_, host, _ := strings.Cut(store, "://")
	host, _, _ = strings.Cut(host, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	host, _, _ = strings.Cut(host, ",")
	if _, _, err := net.SplitHostPort(host); err != nil {
		host = net.JoinHostPort(strings.Trim(host, "[]"), "6379")
	}
	conn, err := net.DialTimeout("udp", host, time.Second) // sends nothing
	if err != nil {
		return netip.Addr{}, false
	}
	defer conn.Close()
	ap, err := netip.ParseAddrPort(conn.LocalAddr().String())
	return ap.Addr().Unmap(), err == nil
}
