package b2bua

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"sipvigil/store"
)

// send starts a client transaction. It does not wait for the network: where a
// connection has to be opened first, the request goes out as soon as it is.
func (a *Agent) send(req *request) (*clientTx, error) { return a.transaction.begin(req) }

// sendWaiting is send that waits for the connection, and fails without it.
func (a *Agent) sendWaiting(req *request) (*clientTx, error) {
	if req.transport != "udp" {
		if _, err := a.connect(context.Background(), req); err != nil {
			return nil, err
		}
	}
	return a.send(req)
}

// write sends an ACK, which has no transaction. It does not wait either.
func (a *Agent) write(req *request) {
	if req.socket != nil {
		a.written(req, req.socket.put(req))
		return
	}
	put := func(s *stream, err error) {
		if err == nil {
			err = s.put(req)
		}
		a.written(req, err)
	}
	if s, err := a.outlet(req, put); s != nil || err != nil {
		put(s, err)
	}
}

func (a *Agent) written(req *request, err error) {
	if err != nil {
		a.log.Info("ACK not sent", zap.String("caller_call_id", req.callID), zap.Error(err))
	}
}

// await has each called with every answer up to the final one, in the order in
// which the messages of its Call-ID come, or failed when none comes any more. A
// transaction that is no INVITE's is dropped after its final answer: what comes
// later is a repetition. It is called at once after [Agent.send], or not at all.
func (a *Agent) await(tx *clientTx, each func(*received), failed func(error)) {
	tx.await(each, failed)
}

// attempt is a request of ours on one leg. When it is challenged, and the
// leg's trunk has credentials, it is sent again with them: [call.challenged].
type attempt struct {
	side     store.Side
	fork     *fork    // that it was made in, while there are several
	out      *request // as it was sent last
	around   string   // URI whose other addresses are tried too, if any
	tx       *clientTx
	sent     time.Time
	used     []*session  // whose credentials it carries
	answered []challenge // to earlier rounds of this request
	over     bool        // nobody waits for the answer any more
}

// rest lets go of what an INVITE does not need for the ACK of one more 2xx: all
// but its number and its credentials.
func (at *attempt) rest() {
	out := &request{cseq: at.out.cseq}
	if len(at.used) > 0 {
		out.header = at.out.header
		out.edit(func(name, value string) (string, bool) { return value, isCredentials(name) })
	}
	at.tx, at.fork, at.answered, at.out = nil, nil, nil, out
}

// maxRounds bounds the challenges to one request that are answered: a proxy
// and a server, and a stale nonce of each.
const maxRounds = 4

// attempt prepares a request for its leg: it carries the credentials for what
// its trunk demanded before, which saves the challenge.
func (c *call) attempt(side store.Side, out *request) *attempt {
	at := &attempt{side: side, fork: c.fork(), out: out}
	if ac := c.account(side); ac != nil {
		at.used = ac.authorize(out)
	}
	return at
}

// account is that of the trunk which a leg belongs to, nil when it has none.
// No credentials leave on any other leg.
func (c *call) account(side store.Side) *account {
	return c.agent.accounts[c.trunk(side)]
}

// trunk is the name of the trunk that a leg belongs to.
func (c *call) trunk(side store.Side) string {
	if side == store.Caller {
		return c.rec.TrunkIn
	}
	return c.rec.TrunkOut
}

// ask sends a request other than INVITE and follows it to its end, with the
// turn: answers goes to each, but for the challenges that are answered on the
// way, and when there is none any more failed is told. An error means that it
// was not sent.
func (c *call) ask(at *attempt, each func(*received), failed func(error)) error {
	tx, err := c.agent.sendAround(at.out, at.around)
	if err != nil {
		return err
	}
	at.tx, at.sent = tx, time.Now()
	c.agent.await(tx, func(res *received) {
		c.here(res.callID, func() {
			c.firstAnswer(at.side, res.status)
			if at.over || !c.challenged(at, res) {
				each(res)
				return
			}
			if err := c.ask(at, each, failed); err != nil {
				failed(err)
			}
		})
	}, func(err error) {
		c.do(func() { failed(err) })
	})
	return nil
}

// challenged says whether a response is a challenge that is to be answered,
// and then prepares the next round of the request: with credentials, the next
// number (RFC 3261 section 22.2) and a branch of its own.
func (c *call) challenged(at *attempt, res *received) bool {
	ac := c.account(at.side)
	if ac == nil || res.status < 200 {
		return false
	}
	if res.status != 401 && res.status != 407 {
		if len(at.used) > 0 {
			ac.worked()
		}
		return false
	}
	inv := c.early()
	starts := inv != nil && inv.attempt == at
	if !starts && !c.reenter(at.fork) {
		return false // it has lost the call
	}
	if err := ac.answer(at, res); err != nil {
		c.notAuthorized(at, ac, err)
		return false
	}
	if starts {
		c.unfork(inv) // its early dialogs end with this answer
	}
	cseq, ok := c.spend(at.side)
	if !ok {
		return false // the store has been away for too long
	}
	c.agent.metrics.challenges.WithLabelValues(c.trunk(at.side), "answered").Inc()
	at.out = at.out.again(cseq)
	at.used = ac.authorize(at.out)
	return true
}

// refused says whether an answer to this challenge would only repeat what the
// peer has refused: RFC 3261 section 22.1 forbids that, unless the nonce was
// stale. With credentials from memory a new nonce is reason to try, and so is
// a new password.
func (at *attempt) refused(ch *challenge, password string) bool {
	if len(at.answered) >= maxRounds {
		return true
	}
	if ch.Stale {
		return false
	}
	if slices.ContainsFunc(at.answered, func(earlier challenge) bool { return earlier.sameDomain(ch) }) {
		return true
	}
	return slices.ContainsFunc(at.used, func(s *session) bool {
		return s.sameDomain(ch) && s.Nonce == ch.Nonce && s.password == password
	})
}

// notAuthorized notes a challenge that stands: it goes on to the other leg, as
// any answer does. The log tells it once, until credentials work again.
func (c *call) notAuthorized(at *attempt, ac *account, why error) {
	c.agent.refusedCredentials(c.trunk(at.side), ac, why, c.fields(zap.String("method", at.out.method))...)
}

func (a *Agent) refusedCredentials(trunk string, ac *account, why error, fields ...zap.Field) {
	result := "failed"
	if errors.Is(why, errRefused) {
		result = "refused"
	}
	a.metrics.challenges.WithLabelValues(trunk, result).Inc()
	if ac.failed() {
		a.log.Warn("trunk wants other credentials than it has: check its username and password_file",
			append(fields, zap.String("trunk", trunk), zap.Error(why))...)
	}
}
