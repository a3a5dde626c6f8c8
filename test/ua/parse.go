package ua

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Parse reads one message that fills a datagram. It is strict: lines end in
// CRLF, names are tokens, the header fields without which no transaction works
// are there, Content-Length does not promise more than there is. It never
// panics, and its error says what is wrong.
func Parse(datagram []byte) (*Message, error) {
	raw := string(datagram)
	m, body, err := parseHead(raw)
	if err != nil {
		return nil, err
	}
	length := len(body)
	if m.Has("Content-Length") {
		if length, err = contentLength(m); err != nil {
			return nil, err
		}
		if length > len(body) {
			return nil, fmt.Errorf("Content-Length is %d, body has %d bytes", length, len(body))
		}
	}
	m.Body = []byte(body[:length]) // what is beyond is discarded: RFC 3261 section 18.3
	m.Raw = raw[:len(raw)-len(body)+length]
	return m, nil
}

const endOfHead = "\r\n\r\n"

// parseHead reads start line and header fields, and returns what follows them.
func parseHead(raw string) (*Message, string, error) {
	head, body, found := strings.Cut(raw, endOfHead)
	if !found {
		return nil, "", errors.New("no empty line after the header fields")
	}
	start, fields, _ := strings.Cut(head, "\r\n")
	m, err := parseStart(start)
	if err != nil {
		return nil, "", err
	}
	if err := m.parseFields(fields); err != nil {
		return nil, "", err
	}
	return m, body, m.validate()
}

func parseStart(line string) (*Message, error) {
	if strings.ContainsAny(line, "\r\n") {
		return nil, errors.New("bare CR or LF in the start line")
	}
	first, rest, _ := strings.Cut(line, " ")
	if first == "SIP/2.0" {
		code, reason, found := strings.Cut(rest, " ")
		status, err := strconv.Atoi(code)
		if !found || err != nil || !isDigits(code) || len(code) != 3 || status < 100 || status > 699 {
			return nil, fmt.Errorf("broken status line %q", line)
		}
		return &Message{Status: status, Reason: reason}, nil
	}
	uri, version, _ := strings.Cut(rest, " ")
	if !isToken(first) || uri == "" || version != "SIP/2.0" {
		return nil, fmt.Errorf("broken request line %q", line)
	}
	return &Message{Method: first, RequestURI: uri}, nil
}

func (m *Message) parseFields(fields string) error {
	m.Headers = make([]Header, 0, strings.Count(fields, "\r\n")+1)
	for fields != "" {
		var line string
		line, fields, _ = strings.Cut(fields, "\r\n")
		if strings.ContainsAny(line, "\r\n") {
			return fmt.Errorf("bare CR or LF in %q", line)
		}
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			// A folded line continues the value: RFC 3261 section 7.3.1.
			if len(m.Headers) == 0 {
				return errors.New("the first header line is a continuation")
			}
			last := &m.Headers[len(m.Headers)-1]
			last.Value = strings.Trim(last.Value+" "+strings.Trim(line, " \t"), " \t")
			continue
		}
		name, value, found := strings.Cut(line, ":")
		name = strings.TrimRight(name, " \t")
		if !found || !isToken(name) {
			return fmt.Errorf("broken header line %q", line)
		}
		m.add(name, strings.Trim(value, " \t"))
	}
	return nil
}

// validate checks what every transaction needs: RFC 3261 section 8.1.1.
func (m *Message) validate() error {
	for _, name := range [...]string{"From", "To", "Call-ID", "CSeq"} {
		switch n := len(m.All(name)); {
		case n != 1:
			return fmt.Errorf("%d header fields %s", n, name)
		case m.Get(name) == "":
			return fmt.Errorf("empty header field %s", name)
		}
	}
	_, method, err := parseCSeq(m.Get("CSeq"))
	if err != nil {
		return err
	}
	if m.IsRequest() && method != m.Method {
		return fmt.Errorf("CSeq is for %s in a request %s", method, m.Method)
	}
	via := m.topVia()
	if !strings.HasPrefix(via, "SIP/2.0/") || m.sentBy() == "" {
		return fmt.Errorf("broken Via %q", via)
	}
	return nil
}

func contentLength(m *Message) (int, error) {
	if n := len(m.All("Content-Length")); n > 1 {
		return 0, fmt.Errorf("%d header fields Content-Length", n)
	}
	value := m.Get("Content-Length")
	length, err := strconv.Atoi(value)
	if err != nil || !isDigits(value) {
		return 0, fmt.Errorf("broken Content-Length %q", value)
	}
	return length, nil
}

// isToken checks the grammar's token: RFC 3261 section 25.1.
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && strings.IndexByte("-.!%*_+`'~", c) < 0 {
			return false
		}
	}
	return s != ""
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
