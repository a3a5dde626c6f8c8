package b2bua

import (
	"fmt"
	"testing"
)

func TestTransactionsThatAreOverLeaveNoRoomBehind(t *testing.T) {
	const many, few = 5 * leanFrom, 10
	x := &transactions{
		clients: make(map[clientKey]*clientTx), servers: make(map[serverKey]*serverTx), first: make(map[requestID]*serverTx),
	}
	key := func(i int) serverKey { return serverKey{branch: fmt.Sprint(i)} }
	for i := range many {
		x.servers[key(i)] = &serverTx{}
	}
	full := x.servers
	for i := few; i < many; i++ {
		delete(x.servers, key(i))
		x.slim()
	}
	if x.most >= leanFrom {
		t.Errorf("there is room for %d transactions still", x.most)
	}
	full[key(-1)] = nil
	if _, same := x.servers[key(-1)]; same {
		t.Error("the map is the one that was full")
	}
	for i := range few {
		if x.servers[key(i)] == nil {
			t.Errorf("transaction %d is lost", i)
		}
	}
	if len(x.servers) != few {
		t.Errorf("%d transactions are left, want %d", len(x.servers), few)
	}
}
