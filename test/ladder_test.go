package test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"
)

// A ladder is a call flow in text, one message a line, from which one SIPp
// scenario for each side is made (sipp/flow.xml):
//
//	a->b INVITE sdp | Subject: hello    the caller sends it, the callee gets it
//	b->a 200 INVITE sdp ? Subject: ^$   and an answer, by status and method
//	a>   CANCEL                         the caller sends it; what the callee gets
//	b<   CANCEL                         comes on a line of its own
//	b    OPTIONS                        the callee waits for a probe
//	b    wait 300ms
//
// After the message: sdp or sdp=DIRECTION (a body), body=N (of N bytes),
// sipfrag=STATUS (what became of a REFER), tag=N
// (the callee's To tag; several make a fork), apart (a request in the dialog of
// a fork, with numbers of its own), again (what came before comes once more). A
// body must arrive as it was sent. "| Name: value" adds a header field where the message is sent; "? Name:
// regexp" demands one where it arrives, "?! Name: regexp" forbids it; without
// a name the whole message is meant. CALLER, CALLEE and SIPVIGIL stand for host
// and port.

// rung is one message as one side sees it, or a wait: the data of flow.xml.
type rung struct {
	N           int
	Pause       int64 // milliseconds
	Probe       bool
	Send        bool
	Method      string
	Status      int
	Text        string // what is sent
	Transaction string // attribute that ties answers to their request
	Optional    []string
	Checks      []check
	First       bool // the request that makes the dialog
	Invite      bool // an INVITE that we answer
	Prack       bool
	Numbered    bool // takes the next number of the dialog
	Apart       bool
	Routes      bool // what it says of our next requests' target counts

	line    int // in the ladder
	words   []string
	headers []string
}

type check struct {
	Header, Regexp string
	Absent         bool
}

// side makes the scenarios of one side, one ladder after the other.
type side struct {
	name   string
	hosts  *strings.Replacer // CALLER, CALLEE, SIPVIGIL
	callee bool
	cseq   int                      // the last number that we spent
	file   func(text string) string // writes a file and returns its path
	climb
}

// climb is how far a side is on its ladder.
type climb struct {
	rungs      []rung
	invites    int // INVITEs that we sent
	inviteN    int // the last of them
	inviteCSeq int
	refused    bool   // it got a final answer of 300 or more
	invited    int    // INVITEs that came
	tagged     bool   // the caller knows the callee's tag
	tag        string // the callee's
	answered   bool   // it sent a final answer to the first INVITE
}

// scenario writes this side of a ladder to a file; "" when it has no part in it.
func (s *side) scenario(t *testing.T, ladder string) string {
	t.Helper()
	s.file = func(text string) string { return file(t, "body", text) }
	which := "a"
	if s.callee {
		which = "b"
	}
	s.climb = climb{}
	for i, line := range strings.Split(ladder, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if err := s.add(line, i, which); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
	}
	if len(s.rungs) == 0 {
		return ""
	}
	s.tie()
	text, err := os.ReadFile(filepath.Join("sipp", "flow.xml"))
	if err != nil {
		t.Fatal(err)
	}
	tmpl, err := template.New("flow.xml").Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	vars := "text,invited"
	if s.invited > 0 {
		vars += ",via,from,to,cseq"
	}
	if s.callee {
		vars += ",caller,callee"
	}
	var out bytes.Buffer
	if err := tmpl.Execute(&out, map[string]any{"Name": s.name, "Steps": s.rungs, "Vars": vars}); err != nil {
		t.Fatal(err)
	}
	return file(t, s.name+".xml", out.String())
}

// add takes one line, if it concerns this side.
func (s *side) add(line string, number int, which string) error {
	who, rest, _ := strings.Cut(line, " ")
	sends, gets := strings.HasPrefix(who, which+"-") || who == which+">", strings.HasSuffix(who, ">"+which) || who == which+"<"
	r := rung{N: len(s.rungs) + 1, line: number}
	rest, checks := cutAll(rest, "?")
	rest, r.headers = cutAll(rest, "|")
	r.words = strings.Fields(rest)
	switch {
	case len(r.words) == 0:
		return fmt.Errorf("no message")
	case who == which && r.words[0] == "wait":
		d, err := time.ParseDuration(r.words[1])
		if err != nil {
			return err
		}
		r.Pause = d.Milliseconds()
	case who == which && r.words[0] == "OPTIONS":
		r.Probe, r.Method = true, "OPTIONS"
		for _, c := range checks {
			r.Checks = append(r.Checks, s.check(c))
		}
	case sends || gets:
		r.Method = r.words[0]
		if status, err := strconv.Atoi(r.Method); err == nil {
			r.Status, r.Method = status, r.words[1]
		}
		if sends {
			s.send(&r)
			break
		}
		for _, c := range checks {
			r.Checks = append(r.Checks, s.check(c))
		}
		if len(who) > 2 { // else nothing is known of what was sent
			r.Checks = append(r.Checks, s.carries(&r)...)
		}
		s.receive(&r)
	case slices.Contains([]string{"a", "b", "a>", "a<", "b>", "b<", "a->b", "b->a"}, who):
		return nil // the other side's
	default:
		return fmt.Errorf("nobody is called %q", who)
	}
	s.rungs = append(s.rungs, r)
	return nil
}

// cutAll takes off everything from the first separator on, in pieces.
func cutAll(s, sep string) (head string, pieces []string) {
	list := strings.Split(s, " "+sep)
	for _, p := range list[1:] {
		pieces = append(pieces, strings.TrimPrefix(p, " "))
	}
	return list[0], pieces
}

// check reads "Name: regexp", "! Name: regexp" or "regexp".
func (s *side) check(text string) check {
	var c check
	if rest, ok := strings.CutPrefix(text, "!"); ok {
		c.Absent, text = true, strings.TrimSpace(rest)
	}
	text = strings.TrimSpace(text)
	if name, pattern, ok := strings.Cut(text, ": "); ok {
		c.Header, text = name+":", strings.TrimSpace(pattern)
	}
	c.Regexp = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;").Replace(s.hosts.Replace(text))
	return c
}

// carries demands the body that a message was sent with.
func (s *side) carries(r *rung) []check {
	kind, text := s.body(r)
	size := 0
	for _, line := range text {
		size += len(line) + len("\r\n")
	}
	if size == 0 {
		return []check{{Header: "Content-Length:", Regexp: "^ *0"}}
	}
	found := []check{{Header: "Content-Length:", Regexp: fmt.Sprintf("^ *%d", size)}, {Header: "Content-Type:", Regexp: kind}}
	for _, line := range []string{text[0], text[len(text)-1]} {
		found = append(found, s.check(line))
	}
	return found
}

// receive completes a message that is to come.
func (s *side) receive(r *rung) {
	r.Apart = slices.Contains(r.words, "apart")
	if r.Status != 0 {
		if r.Method == "INVITE" {
			r.Routes, s.tagged = r.Status > 100 && r.Status < 300, s.tagged || r.Status > 100
			s.refused = r.Status >= 300
			switch {
			case r.Status >= 200:
				r.Optional = []string{"100", "180", "183"} // where nothing depends on them
			case r.Status > 100:
				r.Optional = []string{"100"}
			}
		}
		return
	}
	switch r.Method {
	case "ACK", "CANCEL":
		return
	case "PRACK":
		r.Prack = true
	case "INVITE":
		r.Invite, r.Routes = true, true
		if !slices.Contains(r.words, "again") {
			s.invited++
		}
		r.First = s.callee && s.invited == 1
	}
	r.Numbered = !r.Apart && !slices.Contains(r.words, "again")
}

// send completes a message that is to be sent.
func (s *side) send(r *rung) {
	r.Send = true
	var m []string
	if r.Status != 0 {
		m = s.response(r)
	} else {
		m = s.request(r)
	}
	contact := "<sip:alice@[local_ip]:[local_port];transport=[transport]>"
	if s.callee {
		contact = strings.Replace(contact, "alice", "bob", 1)
	}
	if !slices.ContainsFunc(r.headers, func(h string) bool { return strings.HasPrefix(h, "Contact:") }) && r.Status < 300 {
		m = append(m, "Contact: "+contact)
	}
	for _, h := range r.headers {
		m = append(m, s.hosts.Replace(strings.TrimSpace(h)))
	}
	kind, body := s.body(r)
	if kind != "" {
		m = append(m, "Content-Type: "+kind)
	}
	m = append(m, "Content-Length: [len]", "")
	switch {
	case len(body) > 100: // SIPp reads no scenario above 64 kB
		m = append(m, "[file name="+s.file(strings.Join(body, "\r\n"))+"]")
	case body == nil:
		m = append(m, "")
	default:
		m = append(m, body...)
	}
	r.Text = "      " + strings.Join(m, "\n      ")
}

func (s *side) request(r *rung) []string {
	branch, cseq := fmt.Sprintf("z9hG4bK-[pid]-%d", r.N), s.inviteCSeq
	hopByHop := r.Method == "CANCEL" || r.Method == "ACK" && s.refused
	switch {
	case hopByHop:
		branch = fmt.Sprintf("z9hG4bK-[pid]-%d", s.inviteN)
	case r.Method != "ACK":
		s.cseq++
		cseq = s.cseq
	}
	if r.Method == "INVITE" {
		s.invites, s.inviteN, s.inviteCSeq, s.refused = s.invites+1, r.N, cseq, false
	}
	from, to, uri := "From: <sip:alice@CALLER>;tag=a", "To: <sip:bob@CALLEE>", "[next_url]"
	if s.tagged && r.Method != "CANCEL" {
		to += "[peer_tag_param]"
	}
	if s.callee {
		from, to = "From:[$callee];tag=b"+s.tag, "To:[$caller]"
	} else if !s.tagged || hopByHop && s.invites == 1 {
		uri = "sip:bob@CALLEE;transport=[transport]"
	}
	return []string{
		s.hosts.Replace(r.Method + " " + uri + " SIP/2.0"),
		"Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=" + branch,
		s.hosts.Replace(from), s.hosts.Replace(to), "Call-ID: [call_id]",
		fmt.Sprintf("CSeq: %d %s", cseq, r.Method), "Max-Forwards: 70",
	}
}

func (s *side) response(r *rung) []string {
	tag := ""
	if s.callee && (r.Method == "CANCEL" || r.Method == "INVITE" && s.invited == 1) {
		with := word(r.words, "tag", "1")
		if tag = ";tag=b" + with; !s.answered {
			s.tag, s.answered = with, r.Method == "INVITE" && r.Status >= 200
		}
	}
	m := []string{fmt.Sprintf("SIP/2.0 %d Status %d", r.Status, r.Status)}
	if r.Method == "INVITE" {
		return append(m, "Via:[$via]", "From:[$from]", "To:[$to]"+tag, "Call-ID: [call_id]", "CSeq:[$cseq]")
	}
	return append(m, "[last_Via:]", "[last_From:]", "[last_To:]"+tag, "[last_Call-ID:]", "[last_CSeq:]")
}

func (s *side) body(r *rung) (kind string, text []string) {
	if size := word(r.words, "body", ""); size != "" {
		n, _ := strconv.Atoi(size)
		const line = "0123456789abcdefghijklmnopqrstuvwxyz-0123456789-abcdefghijklmnopqrstuvwxyz"
		for i := 0; n > 0; i++ {
			l := fmt.Sprintf("%06d %s", i, line)
			l = l[:min(len(l), max(n-2, 0))]
			text, n = append(text, l), n-len(l)-2
		}
		return "application/octet-stream", text
	}
	if status := word(r.words, "sipfrag", ""); status != "" {
		return "message/sipfrag;version=2.0", []string{"SIP/2.0 " + status + " Status"}
	}
	i := slices.IndexFunc(r.words, func(w string) bool { return w == "sdp" || strings.HasPrefix(w, "sdp=") })
	if i < 0 {
		return "", nil
	}
	return "application/sdp", []string{
		"v=0", fmt.Sprintf("o=- 1 %d IN IP4 127.0.0.1", r.line), "s=-", "c=IN IP4 127.0.0.1", "t=0 0",
		"m=audio 40000 RTP/AVP 0", "a=" + word(r.words, "sdp", "sendrecv"),
	}
}

// word is the value of NAME=value among words.
func word(words []string, name, otherwise string) string {
	for _, w := range words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v
		}
	}
	return otherwise
}

// tie has SIPp match answers with the requests that we sent by their branch,
// where it can: it wants an answer to each request, and an ACK to each INVITE.
func (s *side) tie() {
	for i := range s.rungs {
		start := &s.rungs[i]
		if !start.Send || start.Status != 0 || start.Method == "ACK" {
			continue
		}
		name := fmt.Sprintf("t%d", start.N)
		var ack *rung
		var answers []*rung
		for j := i + 1; j < len(s.rungs); j++ {
			r := &s.rungs[j]
			if r.Send && r.Status == 0 && r.Method == start.Method {
				break // the next of its kind
			}
			if !r.Send && r.Status != 0 && r.Method == start.Method {
				answers = append(answers, r)
			}
			if r.Send && r.Method == "ACK" && start.Method == "INVITE" && ack == nil {
				ack = r
			}
		}
		if len(answers) == 0 || start.Method == "INVITE" && ack == nil {
			continue
		}
		start.Transaction = `start_txn="` + name + `"`
		for _, r := range answers {
			r.Transaction = `response_txn="` + name + `"`
		}
		if ack != nil {
			ack.Transaction = `ack_txn="` + name + `"`
		}
	}
}
