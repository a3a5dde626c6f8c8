package b2bua

import (
	"context"
	"time"

	"github.com/emiago/sipgo/sip"
)

// dialTimeout bounds the opening of a TCP connection.
const dialTimeout = 3 * time.Second

// send starts a client transaction. Over UDP it does not wait for the network;
// over TCP it may open a connection.
func (a *Agent) send(req *sip.Request) (*sip.ClientTx, error) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	return a.transaction.Request(ctx, req)
}

// await serves the answers of a transaction in a goroutine that ends with the
// final one: each is called for every answer, failed when none comes any more.
// A transaction that is no INVITE's is dropped after its final answer: what
// comes later is a repetition.
func (a *Agent) await(tx *sip.ClientTx, each func(*sip.Response), failed func(error)) {
	a.work.Go(func() {
		for {
			select {
			case res := <-tx.Responses():
				if each != nil {
					each(res)
				}
				if res.StatusCode < 200 {
					continue
				}
				if !tx.Origin().IsInvite() {
					tx.Terminate()
				}
				return
			case <-a.closed:
				return
			case <-tx.Done():
				if failed != nil && !a.closing.Load() {
					failed(tx.Err())
				}
				return
			}
		}
	})
}
