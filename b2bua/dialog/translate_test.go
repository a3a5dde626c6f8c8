package dialog

import (
	"strings"
	"testing"
)

var cseqs = []struct {
	value  string
	n      uint32
	method string
	want   error
}{
	{"4711 INVITE", 4711, "INVITE", nil}, // RFC 3261 section 20.16
	{"0009\r\n  INVITE", 9, "INVITE", nil},
	{" \t1\tINFO ", 1, "INFO", nil},
	{"0 OPTIONS", 0, "OPTIONS", nil},
	{"2130706432 INVITE", 2130706432, "INVITE", nil},
	{"4294967295 BYE", 4294967295, "BYE", nil},
	{"139122385 !interesting-Method0123456789_*+`.%indeed'~",
		139122385, "!interesting-Method0123456789_*+`.%indeed'~", nil},
	{"29344 RE%47IST%45R", 29344, "RE%47IST%45R", nil},
	{"1 invite", 1, "invite", nil},

	{"36893488147419103232 REGISTER", 0, "", errNumber}, // RFC 4475 section 3.1.2.4
	{"9292394834772304023312 OPTIONS", 0, "", errNumber},
	{"4294967296 INVITE", 0, "", errNumber},
	{"-1 INVITE", 0, "", errNumber},
	{"+1 INVITE", 0, "", errNumber},
	{"0x1 INVITE", 0, "", errNumber},
	{"INVITE", 0, "", errNumber},
	{"", 0, "", errNumber},
	{"1INVITE", 0, "", errNumber},
	{"1", 0, "", errMethod},
	{"1 ", 0, "", errMethod},
	{"1 INVITE 2", 0, "", errMethod},
	{"1 INV;ITE", 0, "", errMethod},
}

func TestCSeq(t *testing.T) {
	for _, c := range cseqs {
		n, method, err := CSeq(c.value)
		if n != c.n || method != c.method || err != c.want {
			t.Errorf("CSeq(%q) = %d, %q, %v; want %d, %q, %v", c.value, n, method, err, c.n, c.method, c.want)
		}
	}
}

func TestRAck(t *testing.T) {
	test := func(value string, wantRSeq, wantCSeq uint32, wantMethod string, want error) {
		t.Helper()
		rseq, cseq, method, err := RAck(value)
		if rseq != wantRSeq || cseq != wantCSeq || method != wantMethod || err != want {
			t.Errorf("RAck(%q) = %d, %d, %q, %v; want %d, %d, %q, %v",
				value, rseq, cseq, method, err, wantRSeq, wantCSeq, wantMethod, want)
		}
	}
	test("776656 1 INVITE", 776656, 1, "INVITE", nil) // RFC 3262 section 7.2
	test("\r\n 1\t4294967295\r\n INVITE", 1, 4294967295, "INVITE", nil)
	test("4294967295 0 INVITE", 4294967295, 0, "INVITE", nil)
	test("0 1 INVITE", 0, 0, "", errNumber)
	test("4294967296 1 INVITE", 0, 0, "", errNumber)
	test("1 4294967296 INVITE", 0, 0, "", errNumber)
	test("1 INVITE", 0, 0, "", errNumber)
	test("1 1", 0, 0, "", errMethod)
	test("1 1 INVITE x", 0, 0, "", errMethod)
	test("", 0, 0, "", errNumber)
}

func FuzzRAck(f *testing.F) {
	f.Add("776656 1 INVITE")
	f.Add("\r\n 1\t4294967295\r\n INVITE")
	f.Add("0 1 INVITE")
	f.Fuzz(func(t *testing.T, value string) {
		rseq, cseq, method, err := RAck(value)
		if err != nil {
			if rseq != 0 || cseq != 0 || method != "" {
				t.Errorf("RAck(%q) = %d, %d, %q, %v", value, rseq, cseq, method, err)
			}
			return
		}
		written := FormatRAck(rseq, cseq, method)
		rseq2, cseq2, method2, err := RAck(written)
		if rseq2 != rseq || cseq2 != cseq || method2 != method || err != nil {
			t.Errorf("%q was written as %q and read as %d, %d, %q, %v", value, written, rseq2, cseq2, method2, err)
		}
	})
}

func FuzzCSeq(f *testing.F) {
	for _, c := range cseqs {
		f.Add(c.value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		n, method, err := CSeq(value)
		rseq, cseq, ofRAck, ackErr := RAck("1 " + value)
		if err != ackErr || n != cseq || method != ofRAck || (rseq == 1) != (err == nil) {
			t.Errorf("CSeq(%q) = %d, %q, %v; in RAck %d, %q, %v", value, n, method, err, cseq, ofRAck, ackErr)
		}
		if err == nil && !strings.HasSuffix(trim(value), method) {
			t.Errorf("CSeq(%q) has the method %q", value, method)
		}
	})
}

func BenchmarkCSeq(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = CSeq("4711 INVITE")
	}
}
