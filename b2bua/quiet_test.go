package b2bua

import (
	"testing"
	"time"
)

// A trunk that is pinged with line ends only may stay without a message for long.
func TestAFirstMessageOnAnOldConnectionOfOursMayComeInPieces(t *testing.T) {
	overStreams(t, "tcp", func(n *memoryNet, _ *pipes) {
		p := n.listensAt(5071, 0)
		n.ack(5071, "opens it")
		time.Sleep(time.Hour)
		whole := options("pieces")
		p.write(whole[:100])
		time.Sleep(time.Second)
		p.write(whole[100:])
		if got := p.statuses(); len(got) != 1 || got[0] != 200 {
			n.Errorf("got %v", got)
		}
		begun := time.Now()
		p.write(whole[:100])
		time.Sleep(time.Hour)
		if got := p.closedAfter(begun); got != partialMessage {
			n.Errorf("half a message: closed after %v, want %v", got, partialMessage)
		}
	})
}
