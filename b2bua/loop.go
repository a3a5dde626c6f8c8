package b2bua

import (
	"hash/maphash"

	"sipvigil/b2bua/dialog"
)

// loops says whether an INVITE is one of ours that came back to ask for what
// was asked for before: RFC 3261 section 16.3 and RFC 5393 section 4.2. Nothing
// of the Via that loop detection looks at passes a back-to-back user agent
// (RFC 7332 section 4), but our From tag tells the call, and that one the call
// that it came from. With another Request-URI, or from another trunk, it is a
// spiral, and goes on.
//
// Calls of other nodes are not known here: what goes round between nodes, or
// through somebody who changes the From tag, ends with its Max-Forwards.
func (a *Agent) loops(in *inbound) bool {
	id, asked := a.cameFrom(in.req), in.asked()
	for range maxRound {
		c := a.call(id)
		if c == nil {
			return false
		}
		if c.asked == asked {
			return true
		}
		id = c.after
	}
	return true
}

// asked is the same for INVITEs that go the same way: a route looks at the
// trunk, too.
func (in *inbound) asked() uint64 {
	return maphash.String(in.agent.seed, in.agent.trunkOf(in.ip())+" "+in.req.uri)
}

// maxRound is how often an INVITE may come back.
const maxRound = 70

// cameFrom is the id of the call of ours whose INVITE this is, "" if it is not
// ours.
func (a *Agent) cameFrom(req *received) string {
	tag := req.fromTag
	if !dialog.CheckTag(a.identity.Load().tagKey, tag) {
		return ""
	}
	id, _, _ := dialog.ReadTag(tag)
	return id
}
