package redis

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// FuzzRecord reads what a record may hold when something else than sipvigil
// wrote it, and has the text of what can be read come back as it was.
func FuzzRecord(f *testing.F) {
	var d deflater
	for _, lines := range []string{"", "a\nb\\n\n\\\\", strings.Repeat("x\n", 100)} {
		f.Add("schema=2\nstate=confirmed\ncaller.local_cseq=4294967295\nanswered=1700000000000", string(d.deflate(nil, []byte(lines))))
	}
	f.Add("schema=1\ncaller.route_set=[\"<sip:a;lr>\"]\ncallee.misses=-1\ncallee.rtt=9223372036854775807", "")
	texts := newTexts()
	f.Fuzz(func(t *testing.T, fields, text string) {
		hash := make(map[string]string)
		for line := range strings.SplitSeq(fields, "\n") {
			name, value, _ := strings.Cut(line, "=")
			hash[name] = value
		}
		c, _, err := texts.decodeCall("018f4e5a-0000-7000-8000-000000000001", hash, text)
		if err != nil {
			return
		}
		packed, _ := texts.encode(nil, &c)
		again := store.Call{ID: c.ID}
		if _, err := texts.decode(&again, string(packed)); err != nil {
			t.Fatalf("written anew it cannot be read: %v", err)
		}
		want := store.Call{ID: c.ID}
		for i := range textFields {
			if v := textFields[i].append(nil, &c); len(v) > 0 {
				_ = textFields[i].set(&want, string(v))
			}
		}
		if diff := cmp.Diff(want, again); diff != "" {
			t.Errorf("(-was +written anew):\n%s", diff)
		}
	})
}
