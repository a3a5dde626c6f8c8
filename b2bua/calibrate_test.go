package b2bua_test

import (
	"testing"
	"time"

	"sipvigil/store"
)

func TestACalibrationAsksInADialogThatDoesNotExist(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.agent.Calibrate(w.id, store.Callee, 32*time.Second)
		m := w.bob.next("OPTIONS")
		if m.CallID() == w.bob.callID || m.FromTag() == w.bob.remoteTag || m.ToTag() == w.bob.tag || m.ToTag() == "" {
			t.Errorf("the dialog of the call is asked:\n%s", m.Raw)
		}
		pass(20 * time.Millisecond)
		w.bob.respond(m, 481, "")
		w.heard("calibrated callee: answered 481 after 20ms")

		w.agent.Probe(w.id, store.Callee, "OPTIONS", 32*time.Second)
		m = w.bob.next("OPTIONS")
		if n, _ := m.CSeq(); n != 2 {
			t.Errorf("the next request of the call has CSeq %d, want 2", n)
		}
		w.bob.respond(m, 200, "")
		w.heard("probe callee OPTIONS: answered 200 after 0s")
	})
}

func TestACalibrationThatNobodyAnswersTimesOut(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.connect()
		w.agent.Calibrate(w.id, store.Caller, 5*time.Second)
		pass(5 * time.Second)
		w.alice.next("OPTIONS")
		w.heard("calibrated caller: timeout")
		w.agent.Calibrate("unknown", store.Caller, 5*time.Second)
		w.heard("calibrated caller: no call")
	})
}
