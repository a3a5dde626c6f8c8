package web

import (
	"encoding/json"
	"strings"
	"testing"
)

var someLetters = []letter{
	{Kind: letterHail, ID: "ABC", From: "edge-1"},
	{Kind: letterClock, ID: "ABC", From: "edge-2", Clock: 17},
	{Kind: letterDo, ID: "ABC", From: "edge-1", Clock: 18, Command: &command{"DELETE", "/api/v1/calls/x?reason=a+b", "key", User{"ann@noc", Operator}, "192.0.2.1:99"}},
	{Kind: letterDone, ID: "ABC", From: "edge-2", Outcome: &answerOut{503, "5", []byte(`{}`)}},
}

func TestLettersThatAreDamaged(t *testing.T) {
	test := func(what string, of int, damage func(*letter), want string) {
		t.Helper()
		l := someLetters[of]
		if l.Command != nil {
			c := *l.Command
			l.Command = &c
		}
		if l.Outcome != nil {
			o := *l.Outcome
			l.Outcome = &o
		}
		damage(&l)
		if _, err := readLetter(encode(l)); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	for i := range someLetters {
		test("whole", i, func(*letter) {}, "")
		test("without an id", i, func(l *letter) { l.ID = "" }, "no id")
		test("with another id", i, func(l *letter) { l.ID = "a\nb" }, "no id")
		test("of nobody", i, func(l *letter) { l.From = "edge 1" }, "no sender")
	}
	test("nothing to do", 2, func(l *letter) { l.Command = nil }, "does not hold that")
	test("no outcome", 3, func(l *letter) { l.Outcome = nil }, "does not hold that")
	test("an outcome too much", 0, func(l *letter) { l.Outcome = &answerOut{Status: 200, Body: []byte("{}")} }, "does not hold that")
	test("a command too much", 1, func(l *letter) { l.Command = someLetters[2].Command }, "does not hold that")
	test("a kind that is not known", 0, func(l *letter) { l.Kind = "later" }, "")
	do := func(what string, damage func(*command), want string) {
		t.Helper()
		test(what, 2, func(l *letter) { damage(l.Command) }, want)
	}
	do("another method", func(c *command) { c.Method = "PUT" }, "method")
	do("another method", func(c *command) { c.Method = "GET /x HTTP/1.1" }, "method")
	do("no target", func(c *command) { c.Target = "" }, "target")
	do("a target elsewhere", func(c *command) { c.Target = "http://192.0.2.1/api/v1/calls" }, "target")
	do("the page", func(c *command) { c.Target = "/" }, "target")
	do("a target that is none", func(c *command) { c.Target = "/api/v1/\x00" }, "target")
	do("a long target", func(c *command) { c.Target += strings.Repeat("x", mostTarget) }, "target")
	do("a long key", func(c *command) { c.Key = strings.Repeat("x", maxText+1) }, "key")
	do("a key with lines", func(c *command) { c.Key = "a\r\nHost: b" }, "key")
	do("an address with lines", func(c *command) { c.Address = "a\nb" }, "address")
	do("nobody", func(c *command) { c.User.Name = "" }, "user")
	do("a name with lines", func(c *command) { c.User.Name = "ann\nbob" }, "user")
	do("another role", func(c *command) { c.User.Role = "" }, "user")
	test("no status", 3, func(l *letter) { l.Outcome.Status = 0 }, "outcome")
	test("another status", 3, func(l *letter) { l.Outcome.Status = 1000 }, "outcome")
	test("no body", 3, func(l *letter) { l.Outcome.Body = nil }, "")
	test("a header in a header", 3, func(l *letter) { l.Outcome.After = "5\r\nX: y" }, "outcome")
	for _, junk := range []string{"", "junk", "[]", `{"kind": 7}`, strings.Repeat(" ", mostLetter+1)} {
		if _, err := readLetter([]byte(junk)); err == nil {
			t.Errorf("%.20q is one", junk)
		}
	}
}

// Whatever another node sends, nothing breaks that it reaches.
func FuzzLetter(f *testing.F) {
	for _, l := range someLetters {
		f.Add(encode(l))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		l, err := readLetter(message)
		if err != nil {
			return
		}
		if again, err := readLetter(encode(l)); err != nil || again.ID != l.ID || (again.Command == nil) != (l.Command == nil) {
			t.Errorf("%s is read as %+v, %v", message, again, err)
		}
		if l.Outcome != nil && !json.Valid(l.Outcome.Body) {
			t.Errorf("%s has no JSON in it", message)
		}
		if l.Command == nil {
			return
		}
		s := newServer(t, &fakeCalls{}, healthy)
		s.cfg.Node, s.cfg.Wire = "edge-2", antenna{newAir(), "edge-2"}
		s.meet()
		s.courier.execute(t.Context(), &l)
	})
}
