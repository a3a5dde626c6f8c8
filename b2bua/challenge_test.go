package b2bua

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/icholy/digest"
)

func TestTheTopmostChallengeOfEachRealmIsAnsweredButMD5Last(t *testing.T) {
	const www, proxy = "WWW-Authenticate: ", "Proxy-Authenticate: "
	for _, tt := range []struct {
		name string
		rows []string
		want []string // header, realm, algorithm
	}{
		{"one", []string{www + `Digest realm="a", nonce="n"`}, []string{"Authorization a "}},
		{"SHA-256 above MD5", []string{www + `Digest realm="a", nonce="n", algorithm=SHA-256`, www + `Digest realm="a", nonce="n", algorithm=MD5`},
			[]string{"Authorization a SHA-256"}},
		{"SHA-256 below MD5", []string{www + `Digest realm="a", nonce="n"`, www + `Digest realm="a", nonce="n", algorithm=SHA-256`},
			[]string{"Authorization a SHA-256"}},
		{"the topmost of two that are not MD5", []string{www + `Digest realm="a", nonce="n", algorithm=SHA-512-256`, www + `Digest realm="a", nonce="n", algorithm=SHA-256`},
			[]string{"Authorization a SHA-512-256"}},
		{"what is not understood is ignored", []string{www + `Bearer realm="a"`, www + `Digest realm="a", nonce="n", algorithm=SHA3`,
			www + `Basic realm="a"`, www + `Digest realm="a", nonce="n", algorithm=md5`}, []string{"Authorization a md5"}},
		{"a realm is answered once for the server and once for a proxy", []string{proxy + `Digest realm="a", nonce="n"`, www + `Digest realm="a", nonce="m"`,
			www + `Digest realm="b", nonce="o"`}, []string{"Proxy-Authorization a ", "Authorization a ", "Authorization b "}},
		{"no more than four", []string{www + `Digest realm="1", nonce="n"`, www + `Digest realm="2", nonce="n"`, www + `Digest realm="3", nonce="n"`,
			www + `Digest realm="4", nonce="n"`, www + `Digest realm="5", nonce="n"`},
			[]string{"Authorization 1 ", "Authorization 2 ", "Authorization 3 ", "Authorization 4 "}},
		{"none", nil, nil},
	} {
		var got []string
		for _, c := range challenges(withLines(401, tt.rows...)) {
			got = append(got, c.header+" "+c.Realm+" "+c.Algorithm)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestAChallengeIsReadAsItsGrammarAllows(t *testing.T) {
	for in, want := range map[string]digest.Challenge{
		`Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256, nonce="7ypf/x", opaque="FQhe"`: {
			Realm: "http-auth@example.org", QOP: []string{"auth", "auth-int"}, Algorithm: "SHA-256", Nonce: "7ypf/x", Opaque: "FQhe"},
		"digest\r\n REALM = \"a,\\\"b\\\"\" ,\tNonce=\"n=\",Qop=\"auth-int , AUTH\",stale=TRUE,x_y=z.1": {
			Realm: `a,"b"`, Nonce: "n=", QOP: []string{"auth-int", "auth"}, Stale: true},
		`Digest realm="", nonce="n", qop=auth, userhash=true, charset=UTF-8`: {Nonce: "n", QOP: []string{"auth"}, Userhash: true},
	} {
		got, ok := parseChallenge(in)
		if !ok {
			t.Errorf("%q is not read", in)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", in, diff)
		}
	}
	for _, in := range []string{
		"", "Digest", "Digest ", `Digest realm="a"`, `Digest nonce="n"`, `Digest realm="a", nonce=""`,
		`Digest realm="a", nonce="n`, `Digest realm="a", nonce="n\"`, `Digest realm="a", nonce="n"x"`,
		`Digest realm="a", realm="b", nonce="n"`, `Digest realm="a", nonce="n", qop="token"`, `Digest realm="a", nonce="n", x`,
		`Digest realm="a", nonce="n", Digest realm="b", nonce="m"`, "Digest realm=\"a\xff\", nonce=\"n\"", "Digest realm=\"a\tb\", nonce=\"n\"",
		`Digest realm="a", nonce="n", algorithm=MD5-sess`, `Digest realm="a", nonce="` + strings.Repeat("n", maxChallenge) + `"`,
		`NTLM realm="a", nonce="n"`,
	} {
		if got, ok := parseChallenge(in); ok {
			t.Errorf("%q is read as %+v", in, got)
		}
	}
}

// The examples of RFC 7616 section 3.9. The hashed username and the response of
// the last are those of its erratum 4897: those in the RFC belong to another
// name.
func TestCredentialsAreThoseOfTheExamples(t *testing.T) {
	const first = `Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=%, ` +
		`nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`
	mufasa := digest.Options{Method: "GET", URI: "/dir/index.html", Count: 1, Username: "Mufasa", Password: "Circle of Life",
		Cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"}
	for _, tt := range []struct {
		challenge string
		options   digest.Options
		want      string
	}{
		{strings.ReplaceAll(first, "%", "MD5"), mufasa, "8ca523f5e9506fed4657c9700eebdbec"},
		{strings.ReplaceAll(first, "%", "SHA-256"), mufasa, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		{`Digest realm="api@example.org", qop="auth", algorithm=SHA-512-256, nonce="5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", ` +
			`opaque="HRPCssKJSGjCrkzDg8OhwpzCiGPChXYjwrI2QmXDnsOS", charset=UTF-8, userhash=true`,
			digest.Options{Method: "GET", URI: "/doe.json", Count: 1, Username: "J\u00e4s\u00f8n Doe", Password: "Secret, or not?",
				Cnonce: "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v"},
			"3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5"},
	} {
		c, ok := parseChallenge(tt.challenge)
		if !ok {
			t.Fatalf("%s is not read", tt.challenge)
		}
		cred, err := digest.Digest(&c, tt.options)
		if err != nil {
			t.Fatal(err)
		}
		if cred.Response != tt.want {
			t.Errorf("%s: response %s, want %s", tt.challenge, cred.Response, tt.want)
		}
		if c.Userhash && cred.Username != "793263caabb707a56211940d90411ea4a575adeccb7e360aeb624ed06ece9b0b" {
			t.Errorf("username %s", cred.Username)
		}
	}
}

// RFC 8760 section 2.6 gives the hash of a body that is empty.
func TestAChallengeForIntegrityTakesTheBodyIn(t *testing.T) {
	const empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	hash := func(parts ...string) string {
		return fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(parts, ":"))))
	}
	c, _ := parseChallenge(`Digest realm="r", nonce="n", algorithm=SHA-256, qop="auth-int"`)
	ac := &account{credentials: Credentials{Username: "u"}, sessions: []*session{{challenge: challenge{"Authorization", c}, password: "p"}}}
	req := &request{method: "OPTIONS", uri: "sip:h"}
	for _, body := range []string{"", "v=0"} {
		req.body = []byte(body)
		ac.authorize(req)
		got, _ := authParams(req.value("authorization"))
		of := empty
		if body != "" {
			of = hash(body)
		}
		want := hash(hash("u", "r", "p"), "n", got["nc"], got["cnonce"], "auth-int", hash("OPTIONS", "sip:h", of))
		if got["response"] != want || got["qop"] != "auth-int" || bytes.Count(req.header, []byte("Authorization:")) != 1 {
			t.Errorf("%q: %v, want %s", body, got, want)
		}
	}
}

// FuzzChallenge demands that whatever is read can be answered, in one line that
// reads back as the same values.
func FuzzChallenge(f *testing.F) {
	f.Add(`Digest realm="a", nonce="n", qop="auth,auth-int", algorithm=SHA-256, opaque="o", stale=true`)
	f.Add("Digest\r\n realm=\"a\\\"\\\\\", nonce=\"\xc3\xa4\", qop=auth-int, userhash=true")
	f.Add(`Bearer realm="a"`)
	f.Add(`Digest realm="a",, nonce="n", Digest realm="b"`)
	f.Fuzz(func(t *testing.T, value string) {
		c, ok := parseChallenge(value)
		if !ok {
			return
		}
		ac := &account{credentials: Credentials{Username: "u"}, sessions: []*session{{challenge: challenge{"Authorization", c}, password: "p"}}}
		req := &request{method: "OPTIONS", uri: "sip:h"}
		ac.authorize(req)
		line := req.value("authorization")
		if line == "" || string(req.header) != "Authorization: "+line+"\r\n" {
			t.Fatalf("%q is answered with %q", value, line)
		}
		got, ok := authParams(line)
		if !ok || got["realm"] != c.Realm || got["nonce"] != c.Nonce || got["opaque"] != c.Opaque {
			t.Errorf("%q is answered with %q", value, line)
		}
	})
}
