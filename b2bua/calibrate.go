package b2bua

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/emiago/sipgo/sip"

	"sipvigil/store"
)

// Calibrate sends OPTIONS inside a dialog that does not exist to where the
// requests of a leg go: a far end that knows its dialogs answers 481, RFC 3261
// section 12.2.2. What became of it, after timeout at the latest, goes to the
// observer's Calibrated, once. It returns at once.
//
// The dialog of the leg is left alone: Call-ID, tags and number are made up.
func (a *Agent) Calibrate(id string, side store.Side, timeout time.Duration) {
	c := a.call(id)
	if c == nil {
		a.observer.Calibrated(id, side, store.Answer{Kind: store.NoCall, Method: "OPTIONS", At: time.Now()})
		return
	}
	a.work.Go(func() {
		<-a.serving // a call that was read back may be known before there are sockets
		d := c.snapshot().Legs[side].Dialog
		d.CallID, d.LocalTag, d.RemoteTag = invented(), invented(), invented()
		out := a.question(&d, "OPTIONS", 1)
		a.askOnce(out, timeout, func(ans store.Answer) {
			a.observer.Calibrated(id, side, ans)
		})
	})
}

// askOnce sends a request that belongs to no call, and reports what became of it
// once, after timeout at the latest.
func (a *Agent) askOnce(out *request, timeout time.Duration, report func(store.Answer)) {
	var once sync.Once
	sent := time.Now()
	became := func(kind store.AnswerKind, status int, reason string) {
		once.Do(func() {
			now := time.Now()
			ans := store.Answer{Kind: kind, Method: out.method, Status: status, Reason: reason, At: now}
			if status != 0 {
				ans.RTT = now.Sub(sent)
			}
			report(ans)
		})
	}
	tx, err := a.send(out)
	if err != nil {
		became(store.Unsent, 0, err.Error())
		return
	}
	limit := time.AfterFunc(timeout, func() {
		if !a.closing.Load() {
			became(store.Timeout, 0, "")
			tx.terminate()
		}
	})
	a.await(tx, func(res *received) {
		if res.status >= 200 {
			limit.Stop()
			became(store.Answered, res.status, "")
		}
	}, func(err error) {
		limit.Stop()
		if errors.Is(err, sip.ErrTransactionTimeout) {
			became(store.Timeout, 0, "")
		} else {
			became(store.Unsent, 0, errText(err))
		}
	})
}

// invented is a Call-ID or tag that nobody has.
func invented() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
