package web

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestBulletinsThatAreDamaged(t *testing.T) {
	w := newBulletinWriter()
	test := func(what string, b bulletin, want string) {
		t.Helper()
		got, err := unpackBulletin(w.pack(&b))
		if want == "" && (err != nil || got.session != b.session || got.number != b.number) {
			t.Errorf("%s: %v, %v", what, got, err)
		} else if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", what, err)
		}
	}
	object := []byte(`{"id":"1"}`)
	test("whole", bulletin{"s", 1, []bulletinEvent{{"call", object}, {"ended", object}}}, "")
	test("empty", bulletin{}, "")
	test("of a kind that is not known", bulletin{"s", 1, []bulletinEvent{{"later", []byte("?")}}}, "")
	test("no object", bulletin{"s", 1, []bulletinEvent{{"call", []byte("7")}}}, "no object")
	test("not JSON", bulletin{"s", 1, []bulletinEvent{{"call", []byte(`{"id":`)}}}, "no object")
	test("nothing", bulletin{"s", 1, []bulletinEvent{{"call", nil}}}, "no object")
	test("too long", bulletin{"s", 1, []bulletinEvent{{"call", make([]byte, bulletinMost)}}}, "too long")
	for _, junk := range []string{"", "junk", "\x01\x00\x00\xff\xff"} {
		if _, err := unpackBulletin([]byte(junk)); err == nil {
			t.Errorf("%q is one", junk)
		}
	}
}

// Whatever another node sends, what is passed on is events that a browser can read.
func FuzzBulletin(f *testing.F) {
	w := newBulletinWriter()
	f.Add(w.pack(&bulletin{"ABCDEFGH", 7, []bulletinEvent{{"call", []byte(`{"id":"1"}`)}, {"ended", []byte(`{}`)}}}))
	f.Add(w.pack(&bulletin{}))
	f.Add([]byte("\x01\x05\x00\xfa\xff 1\nx\n"))
	f.Fuzz(func(t *testing.T, message []byte) {
		b, err := unpackBulletin(message)
		if err != nil {
			return
		}
		for _, e := range b.events {
			if strings.ContainsAny(string(e.body), "\n\r") && strings.Contains(string(encode(json.RawMessage(e.body))), "\n\n") {
				t.Errorf("%q breaks the stream", e.body)
			}
		}
		again, err := unpackBulletin(newBulletinWriter().pack(&b))
		if err != nil || len(again.events) != len(b.events) || again.number != b.number {
			t.Errorf("%v is read as %v, %v", b, again, err)
		}
	})
}
