package ua

import (
	"fmt"
	"strconv"
	"strings"
)

// Header is one header field as it stands in the message.
type Header struct {
	Name, Value string
}

// H makes a Header.
func H(name, value string) Header { return Header{Name: name, Value: value} }

// Message is a SIP request (Status is 0) or response. A received message is
// never changed after it was parsed.
type Message struct {
	Method     string // of a request
	RequestURI string // of a request
	Status     int    // of a response
	Reason     string // of a response
	Headers    []Header
	Body       []byte
	// Raw is the text as it went over the wire; empty before it was sent.
	Raw string
}

// IsRequest tells a request from a response.
func (m *Message) IsRequest() bool { return m.Status == 0 }

// Get is the value of the first header field of this name, in its full or its
// compact form and in any case; empty when there is none.
func (m *Message) Get(name string) string {
	for _, h := range m.Headers {
		if sameName(h.Name, name) {
			return h.Value
		}
	}
	return ""
}

// Has tells whether there is a header field of this name.
func (m *Message) Has(name string) bool {
	for _, h := range m.Headers {
		if sameName(h.Name, name) {
			return true
		}
	}
	return false
}

// All is the values of all header fields of this name, one per field.
func (m *Message) All(name string) []string {
	var all []string
	for _, h := range m.Headers {
		if sameName(h.Name, name) {
			all = append(all, h.Value)
		}
	}
	return all
}

// Values is like All with comma-separated lists taken apart. Use it only for
// header fields whose grammar is a list.
func (m *Message) Values(name string) []string {
	var values []string
	for _, field := range m.All(name) {
		values = append(values, splitList(field)...)
	}
	return values
}

// CallID is the Call-ID.
func (m *Message) CallID() string { return m.Get("Call-ID") }

// FromTag is the tag of the From header field.
func (m *Message) FromTag() string { return param(m.Get("From"), "tag") }

// ToTag is the tag of the To header field.
func (m *Message) ToTag() string { return param(m.Get("To"), "tag") }

// CSeq is the sequence number and the method that belongs to it. Both are zero
// when the header field is missing or broken.
func (m *Message) CSeq() (uint32, string) {
	number, method, _ := parseCSeq(m.Get("CSeq"))
	return number, method
}

// Branch is the branch parameter of the topmost Via.
func (m *Message) Branch() string { return param(m.topVia(), "branch") }

// topVia is the first value of the first Via.
func (m *Message) topVia() string {
	via := splitList(m.Get("Via"))
	if len(via) == 0 {
		return ""
	}
	return via[0]
}

// sentBy is the host and port in the topmost Via.
func (m *Message) sentBy() string {
	_, rest, _ := strings.Cut(strings.TrimSpace(m.topVia()), " ")
	host, _, _ := strings.Cut(rest, ";")
	return strings.TrimSpace(host)
}

// String is a short form for logs: the start line, and what names the transaction.
func (m *Message) String() string {
	number, method := m.CSeq()
	if m.IsRequest() {
		return fmt.Sprintf("%s %s (CSeq %d, Call-ID %s)", m.Method, m.RequestURI, number, m.CallID())
	}
	return fmt.Sprintf("%d %s (CSeq %d %s, Call-ID %s)", m.Status, m.Reason, number, method, m.CallID())
}

// Bytes writes the message out. Content-Length is added when no header field
// says it.
func (m *Message) Bytes() []byte {
	out := make([]byte, 0, 512+len(m.Body))
	if m.IsRequest() {
		out = append(out, m.Method+" "+m.RequestURI+" SIP/2.0\r\n"...)
	} else {
		out = append(out, "SIP/2.0 "...)
		out = strconv.AppendInt(out, int64(m.Status), 10)
		out = append(out, " "+m.Reason+"\r\n"...)
	}
	for _, h := range m.Headers {
		out = append(out, h.Name...)
		out = append(out, ": "...)
		out = append(out, h.Value...)
		out = append(out, "\r\n"...)
	}
	if !m.Has("Content-Length") {
		out = append(out, "Content-Length: "...)
		out = strconv.AppendInt(out, int64(len(m.Body)), 10)
		out = append(out, "\r\n"...)
	}
	out = append(out, "\r\n"...)
	return append(out, m.Body...)
}

// add appends a header field.
func (m *Message) add(name, value string) {
	m.Headers = append(m.Headers, Header{Name: name, Value: value})
}

// copyAll appends all header fields of one name from another message.
func (m *Message) copyAll(from *Message, name string) {
	for _, value := range from.All(name) {
		m.add(name, value)
	}
}

// merge appends header fields of the script. They replace the phone's own
// fields of the same name, except those that pile up along the path.
func (m *Message) merge(extra []Header) {
	kept := m.Headers[:0:len(m.Headers)]
	for _, own := range m.Headers {
		if !overrides(extra, own.Name) {
			kept = append(kept, own)
		}
	}
	m.Headers = append(kept, extra...)
}

func overrides(extra []Header, name string) bool {
	if sameName(name, "Via") || sameName(name, "Record-Route") {
		return false
	}
	for _, h := range extra {
		if sameName(h.Name, name) {
			return true
		}
	}
	return false
}

// setBody sets the body, and its type when no header field says it: SDP when
// it looks like it, else plain text.
func (m *Message) setBody(body string) {
	m.Body = []byte(body)
	if body == "" || m.Has("Content-Type") {
		return
	}
	if strings.HasPrefix(body, "v=0") {
		m.add("Content-Type", "application/sdp")
	} else {
		m.add("Content-Type", "text/plain")
	}
}

// sameName compares header field names: any case, and compact forms.
func sameName(a, b string) bool {
	if len(a) == 1 {
		a = fullName(a)
	}
	if len(b) == 1 {
		b = fullName(b)
	}
	return strings.EqualFold(a, b)
}

// fullName expands a compact form (RFC 3261 section 7.3.3 and the IANA registry).
func fullName(compact string) string {
	switch strings.ToLower(compact) {
	case "a":
		return "Accept-Contact"
	case "b":
		return "Referred-By"
	case "c":
		return "Content-Type"
	case "d":
		return "Request-Disposition"
	case "e":
		return "Content-Encoding"
	case "f":
		return "From"
	case "i":
		return "Call-ID"
	case "j":
		return "Reject-Contact"
	case "k":
		return "Supported"
	case "l":
		return "Content-Length"
	case "m":
		return "Contact"
	case "o":
		return "Event"
	case "r":
		return "Refer-To"
	case "s":
		return "Subject"
	case "t":
		return "To"
	case "u":
		return "Allow-Events"
	case "v":
		return "Via"
	case "x":
		return "Session-Expires"
	case "y":
		return "Identity"
	}
	return compact
}
