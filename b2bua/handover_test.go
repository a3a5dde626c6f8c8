package b2bua

import (
	"fmt"
	"testing"
	"time"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
	"sipvigil/store/storetest"
)

func TestWhatHasWaitedInItsSocketDoesNotHoldUpItsReader(t *testing.T) {
	n := newNet(t)
	id := "01987c3f-5e1a-7b2c-8d3e-4f5061728394"
	bye := fmt.Sprintf("BYE sip:a@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKa\r\nFrom: <sip:a@b>;tag=a\r\n"+
		"To: <sip:b@b>;tag=%s\r\nCall-ID: a\r\nCSeq: 2 BYE\r\n\r\n", callerAddr, dialog.MintTag(n.agent.early, id, store.Caller))
	m, err := n.agent.parser.parse([]byte(bye))
	if err != nil {
		t.Fatal(err)
	}
	m.source = callerAddr.AddrPort()
	p := n.agent.sockets[0].conn
	p.came = time.Now().Add(-2 * soon)
	n.agent.mu.Lock() // which nobody can serve it without
	read := make(chan bool, 1)
	go func() { read <- p.bring(&reader{}, n.agent.transaction, m) }()
	select {
	case on := <-read:
		if !on {
			t.Error("the reader gave its socket away")
		}
	case <-time.After(20 * time.Second):
		t.Error("the reader waits")
	}
	n.agent.mu.Unlock()
	n.answered(1)
}

// answered waits until the caller has had so many answers.
func (n *memoryNet) answered(count int) {
	n.Helper()
	storetest.Eventually(n, fmt.Sprintf("%d answers", count), func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.answers) >= count
	})
}
