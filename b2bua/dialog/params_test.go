package dialog

import (
	"slices"
	"strings"
	"testing"
)

func TestParam(t *testing.T) {
	test := func(params, name, want string, found bool) {
		t.Helper()
		if got, ok := Param(params, name); got != want || ok != found {
			t.Errorf("Param(%q, %q) = %q, %v; want %q, %v", params, name, got, ok, want, found)
		}
	}
	test(";lr", "lr", "", true)
	test(";lr=on", "lr", "on", true)
	test(";LR;x=y", "lr", "", true)
	test(";x=y", "lr", "", false)
	test(";x=y", "X", "y", true)
	test(";xx=y;x=z", "x", "z", true)
	test(" ; x = y ; z", "x", "y", true)
	test(";\r\n x\r\n =\r\n y\r\n ;z", "x", "y", true)
	test(";x=1;x=2", "x", "1", true)
	test(`;a=";x=1";x=2`, "x", "2", true)
	test(`;a="\";x=1\"";x=2`, "x", "2", true)
	test(`;x="a b"`, "x", `"a b"`, true)
	test(`;x=""`, "x", `""`, true)
	test(`;x=`, "x", "", true)
	test(`;x=a=b`, "x", "a=b", true)
	test(`;a="open;x=1`, "x", "", false)
	test(`;x="open;y=1`, "x", `"open;y=1`, true)
	test(";;;x=1", "x", "1", true)
	test("", "x", "", false)
	test(";", "", "", true)
	test("x=1", "x", "", false)
	test(";=1", "", "1", true)
}

var lists = []struct {
	value string
	want  []string
}{
	{"", nil},
	{" , ,\t,", nil},
	{"a", []string{"a"}},
	{"INVITE, ACK,BYE ,CANCEL", []string{"INVITE", "ACK", "BYE", "CANCEL"}},
	{"<sip:alice@atlanta.com>, <sip:bob@biloxi.com>,\r\n <sip:carol@chicago.com>",
		[]string{"<sip:alice@atlanta.com>", "<sip:bob@biloxi.com>", "<sip:carol@chicago.com>"}},
	{`"Bell, Alexander" <sip:a,b@h>;x="1,2", "\",\"" <sip:c@h>`,
		[]string{`"Bell, Alexander" <sip:a,b@h>;x="1,2"`, `"\",\"" <sip:c@h>`}},
	{`a (1, (2, 3), \), "4) ,b`, []string{`a (1, (2, 3), \), "4)`, "b"}},
	{"(a,b),c", []string{"(a,b)", "c"}},
	{"sip:a(b@h,sip:c)d@h", []string{"sip:a(b@h", "sip:c)d@h"}},
	{`a,"b,c`, []string{"a", `"b,c`}},
	{`a,"b,c\`, []string{"a", `"b,c\`}},
	{"a,<b,c", []string{"a", "<b,c"}},
	{"a,(b,c", []string{"a", "(b,c"}},
	{"a>,b", []string{"a>", "b"}},
	{`<a",b>,c`, []string{`<a",b>`, "c"}},
}

func TestSplitList(t *testing.T) {
	for _, l := range lists {
		if got := SplitList(l.value); !slices.Equal(got, l.want) {
			t.Errorf("SplitList(%q) = %q, want %q", l.value, got, l.want)
		}
	}
}

func FuzzSplitList(f *testing.F) {
	for _, l := range lists {
		f.Add(l.value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		parts := SplitList(value)
		rest := value
		for _, part := range parts {
			at := strings.Index(rest, part)
			if part == "" || part != trim(part) || at < 0 {
				t.Fatalf("SplitList(%q) = %q", value, parts)
			}
			rest = rest[at+len(part):]
			if got := SplitList(part); len(got) != 1 || got[0] != part {
				t.Errorf("SplitList(%q) holds %q, which is %q", value, part, got)
			}
		}
		if got := SplitList(strings.Join(parts, ", ")); !slices.Equal(got, parts) {
			t.Errorf("SplitList(%q) = %q, joined and split again %q", value, parts, got)
		}
	})
}

func FuzzParam(f *testing.F) {
	f.Add(";x=y", "x")
	f.Add(` ; x = "y;z" ; Z`, "z")
	f.Add(`;a="open;x=1`, "x")
	f.Fuzz(func(t *testing.T, params, name string) {
		value, ok := Param(params, name)
		if !strings.Contains(params, value) || value != trim(value) || !ok && value != "" {
			t.Errorf("Param(%q, %q) = %q, %v", params, name, value, ok)
		}
		if rest := withoutParam(params, 0, name); hasParam(rest, name) {
			t.Errorf("%q without %q is %q", params, name, rest)
		}
	})
}
