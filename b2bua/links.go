package b2bua

import (
	"errors"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/b2bua/locate"
)

// Links is asked which links may carry new calls, and told what real traffic
// says about them. Its methods return at once.
type Links interface {
	// Use says whether a new call may go to this address of a trunk.
	Use(trunk string, hop locate.Hop) Use
	// Heard: what traffic other than our own pings showed about an address: an
	// answer to an INVITE, its time-out, 503, an inbound request. An inbound
	// request over a connection comes from any port.
	Heard(trunk string, hop locate.Hop, t Traffic)
}

// Use says whether new calls go to an address.
type Use uint8

// What an address is good for.
const (
	UseFirst Use = iota // new calls
	UseLast             // demoted: new calls when nothing else is left
	UseNever            // down: no new call
)

// Traffic is what was seen of an address.
type Traffic struct {
	Kind       TrafficKind
	Method     string        // of the request
	Status     int           // of an answer
	Phrase     string        // of an answer
	RetryAfter time.Duration // that an answer asks for, 0 without
	Reason     string        // why a request could not be sent
	RTT        time.Duration // to an answer to a Ping
}

// TrafficKind is a kind of traffic.
type TrafficKind uint8

// The kinds of traffic.
const (
	Answer  TrafficKind = iota // to an INVITE of ours, also a provisional one
	NoReply                    // to an INVITE of ours, in time
	Unsent                     // an INVITE of ours: the network does not take it
	Inbound                    // a request of theirs
)

// noLink is what a caller gets when all that is left to try is down, RFC 3261
// section 21.5.4.
var noLink = fault{503, "No Link Is Up", []string{"Retry-After", "30"}}

// usable takes the addresses out of those of the target that new calls may not
// go to; those that are demoted wait until nothing else is left.
func (inv *invite) usable(links Links, hops []locate.Hop) []locate.Hop {
	if links == nil || inv.target.last {
		return hops
	}
	var up, demoted []locate.Hop
	for _, h := range hops {
		switch links.Use(inv.target.trunk, h) {
		case UseFirst:
			up = append(up, h)
		case UseLast:
			demoted = append(demoted, h)
		}
	}
	if len(demoted) > 0 {
		t := inv.target
		t.addrs, t.last = demoted, true
		inv.targets = append(inv.targets, t)
	}
	return up
}

// isDown says whether no new call may go to an address of a trunk.
func (a *Agent) isDown(trunk string, hop locate.Hop) bool {
	return a.cfg.Links != nil && a.cfg.Links.Use(trunk, hop) == UseNever
}

// heard tells what an INVITE showed of the address that it was sent to.
func (a *Agent) heard(trunk string, hop locate.Hop, t Traffic) {
	if a.cfg.Links != nil && trunk != OtherTrunk {
		t.Method = "INVITE"
		a.cfg.Links.Heard(trunk, hop, t)
	}
}

// heardFrom tells that a trunk sent us a request.
func (a *Agent) heardFrom(in *inbound) {
	if a.cfg.Links == nil {
		return
	}
	if trunk := a.trunkOf(in.ip()); trunk != OtherTrunk {
		a.cfg.Links.Heard(trunk, locate.Hop{Transport: in.transport(), Addr: in.source}, Traffic{Kind: Inbound, Method: in.method})
	}
}

// answerOf is an answer as traffic.
func answerOf(res *received) Traffic {
	return Traffic{Kind: Answer, Status: res.status, Phrase: strings.TrimSpace(res.reason), RetryAfter: retryAfter(res)}
}

// maxRetryAfter bounds what a peer can have us wait.
const maxRetryAfter = time.Hour

// retryAfter is how long a response asks us to wait, RFC 3261 section 20.33, 0
// when it does not.
func retryAfter(res *received) time.Duration {
	v := strings.TrimLeft(value(res, "retry-after"), lws)
	if v == "" {
		return 0
	}
	end := strings.IndexFunc(v, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(v)
	}
	n, err := strconv.ParseUint(v[:end], 10, 32) // 0 when it is no number
	if err != nil && n == 0 {
		return 0
	}
	return min(time.Duration(n)*time.Second, maxRetryAfter)
}

// failedThere tells of an INVITE that got no answer at all.
func (c *call) failedThere(inv *invite, err error) {
	switch {
	case !inv.initial || inv.ringing:
	case errors.Is(err, sip.ErrTransactionTimeout):
		c.agent.heard(inv.target.trunk, inv.hop, Traffic{Kind: NoReply})
	case !errors.Is(err, sip.ErrTransactionTerminated):
		c.agent.heard(inv.target.trunk, inv.hop, Traffic{Kind: Unsent, Reason: cause(err)})
	}
}

// cause is what the system said, without what was being sent.
func cause(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno.Error()
	}
	return errText(err)
}
