package b2bua

import (
	"context"
	"net"
	"time"

	"sipvigil/b2bua/dialog"
	"sipvigil/b2bua/locate"
)

// Finding is what became of an OPTIONS that somebody asked for, and what its
// answer says.
type Finding struct {
	Traffic              // Answer, NoReply or Unsent
	Hop     locate.Hop   // that was asked
	From    string       // address and port that answered
	Seen    string       // address and port that we were seen at there, RFC 3581; "" when it was not said
	Server  string       // Server, or User-Agent, of the answer
	Contact string       // of the answer
	Can     Capabilities // that are in it
}

// longestText bounds what is kept of one header.
const longestText = 256

// Inquire asks a SIP URI what it can do: its first address that a request can be
// sent to, RFC 3263 section 4.3. It waits for what becomes of it, for the DNS
// and then timeout at most.
func (a *Agent) Inquire(ctx context.Context, target string, timeout time.Duration) Finding {
	unsent := func(why error) Finding {
		return Finding{Traffic: Traffic{Kind: Unsent, Method: "OPTIONS", Reason: why.Error()}}
	}
	select {
	case <-a.serving:
	case <-ctx.Done():
		return unsent(ctx.Err())
	}
	if err := checkTarget("target", target); err != nil {
		return unsent(err)
	}
	hops, err := a.find(target)
	if err != nil {
		return unsent(err)
	}
	var f Finding
	for _, hop := range hops {
		if f = a.inquire(ctx, target, hop, timeout); f.Kind != Unsent || ctx.Err() != nil {
			break
		}
	}
	return f
}

// inquire asks one address.
func (a *Agent) inquire(ctx context.Context, target string, hop locate.Hop, timeout time.Duration) Finding {
	done := make(chan Finding, 1)
	a.work.Go(func() {
		p := Ping{Trunk: a.trunkAt(target), Target: target, Hop: hop, With: PingOptions, Timeout: timeout, user: true}
		a.pingSIP(p, func(t Traffic, res *received) {
			f := Finding{Hop: hop, Traffic: t}
			if res != nil {
				f.read(res)
			}
			done <- f
		})
	})
	gone := Finding{Hop: hop, Traffic: Traffic{Kind: Unsent, Method: "OPTIONS", Reason: "it was given up"}}
	select {
	case f := <-done:
		return f
	case <-ctx.Done():
	case <-a.closed:
	}
	return gone
}

// read takes what an answer says of who sent it.
func (f *Finding) read(res *received) {
	cut := func(s string) string { return s[:min(len(s), longestText)] }
	f.From = res.source.String()
	f.Server, f.Contact = cut(value(res, "server")), cut(value(res, "contact"))
	if f.Server == "" {
		f.Server = cut(value(res, "user-agent"))
	}
	f.Can = capabilities(res)
	if via, ok := first(res, "via"); ok {
		host, _ := dialog.Param(via, "received")
		port, _ := dialog.Param(via, "rport")
		if host == "" && port != "" {
			host = res.via.host // it is the one that we gave: RFC 3261 section 18.2.1
		}
		if port == "" {
			f.Seen = host
		} else {
			f.Seen = net.JoinHostPort(trimBrackets(host), port)
		}
	}
}

// uri is the target as it is asked.
func (p *Ping) uri() dialog.URI {
	u, _ := dialog.ParseURI(p.Target) // was validated
	u.Headers = ""
	if !p.user {
		u.User = ""
	}
	return u
}
