package b2bua

import (
	"bytes"
	"encoding/hex"

	"sipvigil/store"
)

// appendProbe writes the request that [Agent.question] makes, and keeps nothing of
// it; a test holds the two together.
func (c *call) appendProbe(b []byte, side store.Side, s *socket, cseq uint32, branch branchText) []byte {
	d := c.dialog(side)
	o := inDialog(d, outline{method: "OPTIONS", cseq: cseq, branch: magicCookie + string(branch[:]), contact: true})
	b = append(append(append(b, "OPTIONS "...), o.uri...), " SIP/2.0\r\n"...)
	b = append(c.agent.appendOutline(b, d, s, o), probeTail...)
	return append(c.appendSession(b, side), "Content-Length: 0\r\n\r\n"...)
}

// appendSession is ownSession, written out.
func (c *call) appendSession(b []byte, to store.Side) []byte {
	c.mu.Lock()
	local, remote := c.sessionIDs.id[to.Other()], c.sessionIDs.id[to]
	c.mu.Unlock()
	if local == (sessionUUID{}) || remote == (sessionUUID{}) {
		return b
	}
	b = hex.AppendEncode(append(b, "Session-ID: "...), local[:])
	if local != remote {
		b = hex.AppendEncode(append(b, ";remote="...), remote[:])
	}
	return append(b, "\r\n"...)
}

// readAnswer reads status and branch of a response to an OPTIONS of ours.
func readAnswer(datagram []byte) (status int, branch branchText, ok bool) {
	if !isStatusLine(datagram) {
		return 0, branch, false
	}
	f := fields{rest: datagram}
	line := f.line()
	if !goodStatusLine(line) {
		return 0, branch, false
	}
	n, _ := digits(line[len("SIP/2.0 "):len("SIP/2.0 ")+3], 999)
	var via, options bool
	for !(via && options) && f.next() {
		switch fieldOf(f.name) {
		case fieldVia:
			if via {
				continue // the topmost counts
			}
			_, b, cut := bytes.Cut(f.value, []byte("branch="+magicCookie))
			if !cut || len(b) < branchLen || len(b) > branchLen && b[branchLen] != ';' && b[branchLen] != ',' {
				return 0, branch, false
			}
			via = copy(branch[:], b) == branchLen
		case fieldCSeq:
			if !bytes.HasSuffix(trimSpace(f.value), []byte("OPTIONS")) {
				return 0, branch, false
			}
			options = true
		}
	}
	return int(n), branch, via && options
}
