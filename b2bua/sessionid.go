package b2bua

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"

	"github.com/google/uuid"

	"sipvigil/b2bua/dialog"
	"sipvigil/store"
)

// sessionSpace is the namespace of UUIDs made for who has none, RFC 7989
// section 4.1.
var sessionSpace = uuid.MustParse("a58587da-c93d-11e2-ae90-f4ea67801e29")

// sessionUUID is how a far end is named in Session-ID; zero while unknown.
type sessionUUID [16]byte

func (u sessionUUID) String() string { return hex.EncodeToString(u[:]) }

// sessionIDs is what is known of the UUIDs of a call's far ends. It is not stored:
// after a restart it comes back with their next messages.
type sessionIDs struct {
	id   [2]sessionUUID
	sent [2]bool // by the far end itself; else we made it
}

// relaySession passes Session-ID on. A far end that sends none gets a UUID from
// us: one that follows from its Call-ID and tag, and so stays the same. RFC
// 7989 section 7.
func (c *call) relaySession(dst *header, src *received, to store.Side) {
	from := to.Other()
	response := src.method == ""
	v, _ := first(src, "session-id")
	id, remote, ok := readSession(v)
	if !ok { // RFC 7989 section 7: what is broken is discarded
		var sent bool
		if id, sent = c.known(from); !sent {
			id = madeUUID(src, response)
			c.setSession(from, id, false)
		}
		c.addSession(dst, id, to)
		return
	}
	peer, _ := c.known(to)
	if !response && remote != "" && peer != (sessionUUID{}) && peer != id {
		// RFC 7989 section 8: the sender may not have heard of the peer's UUID. One
		// that writes no remote parameter, or the peer's UUID as its own, does as of
		// RFC 7329, and gets its way: RFC 7989 section 11.
		v = dialog.WithParam(v, "remote", peer.String())
	}
	dst.add("Session-ID", v)
	// RFC 7989 section 8: a response's UUID counts at once, that of a request
	// once it is accepted; see acceptSession.
	if _, sent := c.known(from); id != (sessionUUID{}) && (response || !sent) {
		c.setSession(from, id, true)
	}
}

// acceptSession notes the UUID of a request that was answered with 2xx or 3xx,
// or of an ACK, RFC 7989 section 8.
func (c *call) acceptSession(side store.Side, req *received) {
	v, _ := first(req, "session-id")
	if id, _, ok := readSession(v); ok && id != (sessionUUID{}) {
		c.setSession(side, id, true)
	}
}

// ownSession names the session in a message that is our own, where both far
// ends are known: RFC 7989 section 7 lets who has forgotten say nothing.
func (c *call) ownSession(dst *header, to store.Side) {
	local, _ := c.known(to.Other())
	remote, _ := c.known(to)
	if local != (sessionUUID{}) && remote != (sessionUUID{}) {
		c.addSession(dst, local, to)
	}
}

// ownSession does the same for our own answer to a request of a call.
func (in *inbound) ownSession(res *response) {
	if c := in.call; c != nil && res.status > 100 {
		c.ownSession(&res.header, in.side)
	}
}

func (c *call) addSession(dst *header, local sessionUUID, to store.Side) {
	remote, _ := c.known(to)
	if local == remote && local == (sessionUUID{}) {
		return // RFC 7989 section 7: of no use to anybody
	}
	b := hex.AppendEncode(append(*dst, "Session-ID: "...), local[:])
	if local != remote { // else RFC 7989 section 11: there is one UUID for both
		b = hex.AppendEncode(append(b, ";remote="...), remote[:])
	}
	*dst = append(b, "\r\n"...)
}

func (c *call) known(side store.Side) (id sessionUUID, sent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.sessionIDs.id[side], c.sessionIDs.sent[side]
}

func (c *call) setSession(side store.Side, id sessionUUID, sent bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessionIDs.id[side], c.sessionIDs.sent[side] = id, sent
}

// madeUUID is the UUID of a message's sender as RFC 7989 section 4.1 has it
// made, zero while it has no tag.
func madeUUID(m *received, response bool) sessionUUID {
	from := "from"
	if response {
		from = "to"
	}
	tag := dialog.Tag(value(m, from))
	if tag == "" {
		return sessionUUID{}
	}
	var room [256]byte
	b := append(append(append(room[:0], sessionSpace[:]...), value(m, "call-id")...), tag...)
	var u sessionUUID
	sum := sha1.Sum(b)
	copy(u[:], sum[:])
	u[6], u[8] = u[6]&0x0f|0x50, u[8]&0x3f|0x80 // version 5, as uuid.NewSHA1
	return u
}

// readSession reads the UUID of the sender, and the text of the one in the
// remote parameter, "" without: RFC 7989 section 5.
func readSession(value string) (local sessionUUID, remote string, ok bool) {
	text, params, more := strings.Cut(value, ";")
	if !readUUID(&local, strings.TrimSpace(text)) {
		return sessionUUID{}, "", false
	}
	if !more {
		return local, "", true
	}
	if remote, ok = dialog.Param(";"+params, "remote"); !ok {
		return local, "", true
	}
	var u sessionUUID
	return local, remote, readUUID(&u, remote)
}

func readUUID(u *sessionUUID, text string) bool {
	if len(text) != 2*len(u) {
		return false
	}
	_, err := hex.Decode(u[:], []byte(text))
	return err == nil
}
