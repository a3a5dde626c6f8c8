package b2bua

import (
	"regexp"
	"testing"

	"sipvigil/b2bua/dialog"
)

func TestARouteMatchesAndRewritesNumbers(t *testing.T) {
	expr := func(s string) *regexp.Regexp {
		if s == "" {
			return nil
		}
		return regexp.MustCompile(s)
	}
	for _, c := range []struct {
		name, user, caller       string // of the request
		match, matchCaller       string
		set, setCaller           string
		want, wantCalled, wantBy string // the want: taken or not
	}{
		{"without conditions it takes all", "0301", "200", "", "", "", "", "taken", "0301", "200"},
		{"both conditions must hold", "0301", "200", "^0", "^3", "", "", "not", "", ""},
		{"both hold", "0301", "200", "^0", "^2", "", "", "taken", "0301", "200"},
		{"a group goes where it is wanted", "0049301", "200", "^00([1-9].*)$", "", "+$1", "", "taken", "+49301", "200"},
		{"without an expression the number is $1", "9", "200", "", "", "", "+4930$1", "taken", "9", "+4930200"},
		{"it may become another number", "9", "200", "", "", "", "+4930", "taken", "9", "+4930"},
		{"what is left of a number must be one", "00", "200", "^00(.*)$", "", "$1", "", "not", "", ""},
		{"a cut escape is no number", "0%23", "200", "^(.*)3$", "", "$1", "", "not", "", ""},
		{"an escaped digit is that digit", "%30%301", "200", "^00(.*)$", "", "+$1", "", "taken", "+1", "200"},
		{"an escape that is needed stays", "0%23", "200", "^0(.*)$", "", "$1", "", "taken", "%23", "200"},
		{"a password is no part of it", "001:secret", "200", "^00(\\d)$", "", "+$1", "", "taken", "+1:secret", "200"},
		{"nor are parameters", "001;phone-context=example.com", "200", "^00(\\d)$", "", "+$1", "", "taken", "+1;phone-context=example.com", "200"},
		{"no caller at all", "1", "", "", "^$", "", "", "taken", "1", ""},
		{"an unfinished escape", "0%3", "", "^0", "", "", "", "taken", "0%3", ""},
		{"an escaped plus is that plus", "%2b4930", "", `^\+49(.*)$`, "", "0$1", "", "taken", "030", ""},
		{"an escape within one", "0%3%39", "", "^0(.*)$", "", "+$1", "", "taken", "+%2539", ""},
	} {
		r := Route{User: expr(c.match), Caller: expr(c.matchCaller), SetUser: c.set, SetCaller: c.setCaller}
		n, ok := r.match(query{uri: dialog.URI{User: c.user}, caller: c.caller})
		if ok != (c.want == "taken") {
			t.Errorf("%s: taken is %v", c.name, ok)
			continue
		}
		called, calling := c.user, c.caller
		if n != nil {
			called, calling = renumbered(c.user, n.called), renumbered(c.caller, n.calling)
		}
		if ok && (called != c.wantCalled || calling != c.wantBy) {
			t.Errorf("%s: called %q, caller %q, want %q and %q", c.name, called, calling, c.wantCalled, c.wantBy)
		}
	}
}

func TestARouteTakesOnlyCallsOfItsTrunk(t *testing.T) {
	r := Route{From: "pbx"}
	if _, ok := r.match(query{from: "other"}); ok {
		t.Error("it takes a call of another trunk")
	}
	if _, ok := r.match(query{from: "pbx"}); !ok {
		t.Error("it takes no call of its trunk")
	}
}

func TestANumberIsRewrittenWhereItStands(t *testing.T) {
	n := change{"0301", "+49301"}
	for value, want := range map[string]string{
		`"Bob" <sip:0301@h;user=phone>;x=1`: `"Bob" <sip:+49301@h;user=phone>;x=1`,
		"sip:0301@h":                        "sip:+49301@h",
		"<tel:0301;phone-context=+49>":      "<tel:+49301;phone-context=+49>",
		"<sip:%30301@h>":                    "<sip:+49301@h>",
		"<sip:0302@h>":                      "<sip:0302@h>",
		"<sip:h>":                           "<sip:h>",
		"<urn:0301>":                        "<urn:0301>",
		"nonsense":                          "nonsense",
		"":                                  "",
	} {
		if got := n.in(value); got != want {
			t.Errorf("%s becomes %s, want %s", value, got, want)
		}
	}
}

func FuzzANumberThatWasRewrittenIsAUser(f *testing.F) {
	for _, s := range []string{"0049", "00%31", "0;x=1:y", "%", "+1:", "00\n", "0%2%31"} {
		f.Add(s)
	}
	r := Route{User: regexp.MustCompile(`^0+(.*)$`), SetUser: "+$1"}
	f.Fuzz(func(t *testing.T, user string) {
		before, err := dialog.ParseURI("sip:" + user + "@h")
		if err != nil || before.User != user {
			return
		}
		n, ok := r.match(query{uri: before})
		if !ok {
			return
		}
		text := dialog.URI{Scheme: "sip", User: renumbered(user, n.called), Host: "h"}.String()
		after, err := dialog.ParseURI(text)
		if err != nil || after.Host != "h" || numberOf(after.User) != n.called.to {
			t.Errorf("%q becomes %q: %+v, %v", user, text, after, err)
		}
	})
}
