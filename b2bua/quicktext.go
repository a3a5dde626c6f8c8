package b2bua

import (
	"bytes"
	"encoding/hex"
	"strconv"
	"strings"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// appendProbe writes the request that [Agent.question] builds; a test holds the
// two together.
func (c *call) appendProbe(b []byte, side store.Side, s *socket, cseq uint32, branch branchText) []byte {
	d := c.dialog(side)
	host, port := c.agent.sentBy(s, d.Peer)
	address := func() {
		if strings.IndexByte(host, ':') >= 0 {
			b = append(append(append(b, '['), host...), "]:"...)
		} else {
			b = append(append(b, host...), ':')
		}
		b = strconv.AppendUint(b, uint64(port), 10)
	}
	uri, routes, _ := dialog.NextHop(d)
	b = append(append(append(b, "OPTIONS "...), uri...), " SIP/2.0\r\nVia: SIP/2.0/UDP "...)
	address()
	b = append(append(b, ";branch="+magicCookie...), branch[:]...)
	b = append(b, ";rport\r\nMax-Forwards: 70\r\n"...)
	for _, r := range routes {
		b = append(append(append(b, "Route: "...), r...), "\r\n"...)
	}
	b = append(append(append(append(b, "From: "...), d.LocalURI...), ";tag="...), d.LocalTag...)
	b = append(append(b, "\r\nTo: "...), d.RemoteURI...)
	if d.RemoteTag != "" {
		b = append(append(b, ";tag="...), d.RemoteTag...)
	}
	b = append(append(append(b, "\r\nCall-ID: "...), d.CallID...), "\r\nCSeq: "...)
	b = append(strconv.AppendUint(b, uint64(cseq), 10), " OPTIONS\r\nContact: <sip:"...)
	if addr, err := dialog.ParseAddr(d.LocalURI); err == nil {
		if local, err := dialog.ParseURI(addr.URI); err == nil && local.User != "" {
			user, _, _ := strings.Cut(local.User, ":")
			b = append(append(b, user...), '@')
		}
	}
	address()
	b = append(append(b, ">\r\n"...), probeTail...)
	b = c.appendSession(b, side)
	return append(b, "Content-Length: 0\r\n\r\n"...)
}

// probeTail is probeHeaders as text.
var probeTail = func() string {
	var b strings.Builder
	for _, h := range probeHeaders {
		b.WriteString(h.Name() + ": " + h.Value() + "\r\n")
	}
	return b.String()
}()

// appendSession is ownSession, written out.
func (c *call) appendSession(b []byte, to store.Side) []byte {
	local, _ := c.known(to.Other())
	remote, _ := c.known(to)
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
