package b2bua

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"
	"go.uber.org/zap"
)

// Place is where a call is that this agent did not have: nowhere, here by now,
// or at another node.
type Place struct {
	Here  bool
	Addr  string    // address and UDP port of the node that has it
	Ended time.Time // when it ended, at any node
}

// maxDoubtful is how many requests a second are looked for although their tags
// may be invented.
const maxDoubtful = 100

// findTime bounds how long a request inside a call may wait for its place.
const findTime = 3 * time.Second

// elsewhere serves a request inside a call that this agent does not have, but
// whose tag was made by a node of ours.
func (a *Agent) elsewhere(in *inbound) {
	if a.passing.Add(1) > maxPassing {
		a.passing.Add(-1)
		in.later("Too Many Requests Under Way")
		return
	}
	done := sync.OnceFunc(func() { a.passing.Add(-1) })
	a.work.Go(func() {
		defer in.rescue()
		ctx, cancel := context.WithTimeout(context.Background(), findTime)
		defer cancel()
		place, err := a.cfg.Find(ctx, in.id)
		if err == nil && place.Addr != "" {
			a.forward(in, place.Addr, done)
			return
		}
		defer done()
		switch {
		case err != nil:
			a.log.Debug("owner of a call is not known", zap.String("call", in.id), zap.Error(err))
			in.later("Owner of the Call Not Known")
		case place.Here && a.call(in.id) != nil:
			in.sought = true
			a.inDialog(in)
		case in.method == "BYE" && time.Since(place.Ended) < 64*sip.T1:
			in.answer(200) // RFC 5407 section 3.2.1, as in [Agent.noCall]
		default:
			in.unknownDialog()
		}
	})
}

// later has the sender try again: 503 ends no dialog, RFC 5057 section 5.1.
func (in *inbound) later(why string) {
	in.refuse(&fault{503, why, []string{"Retry-After", "2"}})
}

// forwardHeader says where a request came from that another node passed on.
const forwardHeader = "X-Sipvigil-Source"

// seal proves that a node of ours passed this request on, which came from
// source.
func (a *Agent) seal(branch, source string, req *received) string {
	mac := hmac.New(sha256.New, a.identity.Load().tagKey)
	for _, part := range []string{"forward", branch, source, req.method, req.callID, value(req, "cseq")} {
		_, _ = mac.Write([]byte(part)) // never fails
		_, _ = mac.Write([]byte{0})
	}
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// takeSource has a request that another node passed on count as coming from
// where that node got it. Without the right seal the header means nothing; it
// goes no further in any case.
func (in *inbound) takeSource() {
	v, ok := first(in.req, strings.ToLower(forwardHeader))
	if !ok {
		return
	}
	in.req.without(strings.ToLower(forwardHeader))
	source, sealed, _ := strings.Cut(v, " ")
	from, ok := addrPort(source)
	if !ok {
		return
	}
	if in.unsealed = !hmac.Equal([]byte(sealed), []byte(in.agent.seal(in.req.via.branch, source, in.req))); !in.unsealed {
		in.source, in.forwarded = from, true
	}
}
