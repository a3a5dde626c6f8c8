package b2bua_test

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sipvigil/b2bua"
	"sipvigil/store"
	"sipvigil/test/ua"
)

// withCredentials gives bob's trunk "carrier" a name and a password; alice's
// trunk "pbx" has none.
func withCredentials(t *testing.T) func(*b2bua.Config) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return func(cfg *b2bua.Config) {
		cfg.Trunks = []b2bua.Trunk{
			{Name: "carrier", Targets: []string{cfg.NextHop}, Credentials: b2bua.Credentials{Username: "us", PasswordFile: file}},
			{Name: "pbx", Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		}
	}
}

const (
	realm    = `Digest realm="carrier", qop="auth", opaque="o;1"`
	wwwSHA   = `WWW-Authenticate: ` + realm + `, algorithm=SHA-256, nonce="n1"`
	wwwMD5   = `WWW-Authenticate: ` + realm + `, algorithm=MD5, nonce="n1"`
	otherSHA = `WWW-Authenticate: ` + realm + `, algorithm=SHA-256, nonce="n2"`
	stale    = otherSHA + `, stale=true`
	proxySHA = `Proxy-Authenticate: Digest realm="edge", algorithm=SHA-512-256, nonce="p1", qop="auth-int,auth"`
)

var quoted = regexp.MustCompile(`([a-z]+)="?([^",]*)"?`)

// proven checks a request's answer to a challenge as a server would, and is the
// nonce, its count and the algorithm.
func (w *world) proven(m *ua.Message, header, password string) string {
	w.Helper()
	if n := len(m.All(header)); n != 1 {
		w.Fatalf("%d %s:\n%s", n, header, m.Raw)
	}
	p := make(map[string]string)
	for _, kv := range quoted.FindAllStringSubmatch(strings.TrimPrefix(m.Get(header), "Digest "), -1) {
		p[kv[1]] = kv[2]
	}
	hash := map[string]func(string) string{
		"MD5":         func(s string) string { return fmt.Sprintf("%x", md5.Sum([]byte(s))) },
		"SHA-256":     func(s string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(s))) },
		"SHA-512-256": func(s string) string { return fmt.Sprintf("%x", sha512.Sum512_256([]byte(s))) },
	}[p["algorithm"]]
	join := func(parts ...string) string { return hash(strings.Join(parts, ":")) }
	want := join(join("us", p["realm"], password), p["nonce"], p["nc"], p["cnonce"], "auth", join(m.Method, m.RequestURI))
	if p["response"] != want || p["uri"] != m.RequestURI || p["username"] != "us" || p["qop"] != "auth" {
		w.Fatalf("wrong credentials, want %s:\n%s", want, m.Raw)
	}
	return p["nonce"] + " " + p["nc"] + " " + p["algorithm"]
}

// plain checks that a request carries no credentials.
func (w *world) plain(m *ua.Message) *ua.Message {
	w.Helper()
	if m.Has("Authorization") || m.Has("Proxy-Authorization") {
		w.Fatalf("credentials where none may be:\n%s", m.Raw)
	}
	return m
}

func TestAChallengedInviteGoesOutAgainWithCredentials(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		w.dial()
		first := w.plain(w.invite)
		w.bob.respond(first, 401, "", wwwMD5, wwwSHA)
		w.bob.next("ACK")
		w.take(w.bob)
		same(w.T, w.proven(w.invite, "Authorization", "secret"), "n1 00000001 SHA-256")
		same(w.T, w.invite.Get("CSeq")+w.invite.CallID()+w.invite.FromTag()+string(w.invite.Body)+w.invite.ToTag(),
			"2 INVITE"+first.CallID()+first.FromTag()+offer)
		if w.invite.Branch() == first.Branch() || !strings.Contains(w.invite.Get("Authorization"), `opaque="o;1"`) {
			w.Errorf("again:\n%s", w.invite.Raw)
		}
		w.alice.nothing()

		w.bob.respond(w.invite, 183, "", "Require: 100rel", "RSeq: 7")
		w.alice.remoteTag = w.alice.next("183 INVITE").ToTag()
		w.alice.request("PRACK", "", "RAck: 7 1 INVITE")
		prack := w.bob.next("PRACK")
		same(w.T, prack.Get("RAck")+", "+prack.Get("CSeq"), "7 2 INVITE, 3 PRACK")
		same(w.T, w.proven(prack, "Authorization", "secret"), "n1 00000002 SHA-256")
		w.bob.respond(prack, 200, "")
		w.alice.next("200 PRACK")
		w.alice.cseq = 1
		w.accept()
		ack := w.ack()
		same(w.T, ack.Get("CSeq")+ack.Get("Authorization"), "2 ACK"+w.invite.Get("Authorization"))
		w.heard("started", "evidence caller: ACK", "confirmed")
	})
}

func TestACancelHasTheNumberOfTheInviteThatWasSentLast(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 407, "", proxySHA)
		w.bob.next("ACK")
		w.take(w.bob)
		same(w.T, w.proven(w.invite, "Proxy-Authorization", "secret"), "p1 00000001 SHA-512-256")
		w.bob.respond(w.invite, 180, "")
		w.alice.next("180 INVITE")
		w.release(store.End{Reason: store.Operator})
		cancel := w.plain(w.bob.next("CANCEL"))
		same(w.T, cancel.Get("CSeq")+cancel.Branch(), "2 CANCEL"+w.invite.Branch())
	})
}

func TestAnInviteThatWasCancelledMeanwhileIsNotSentAgain(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		w.dial()
		w.release(store.End{Reason: store.Operator})
		w.alice.next("487 INVITE")
		w.bob.respond(w.invite, 401, "", wwwSHA)
		w.bob.next("ACK")
		w.bob.nothing()
		w.heard("started", "ended operator(487) /")
	})
}

// authorized is a confirmed call whose INVITE was challenged.
func (w *world) authorized() {
	w.Helper()
	w.dial()
	w.bob.respond(w.invite, 401, "", wwwSHA)
	w.bob.next("ACK")
	w.take(w.bob)
	w.accept()
	w.ack()
	w.obs.heard()
}

func TestEveryRequestOfTheLegCarriesCredentialsAndAnswersANewChallenge(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		w.authorized()
		cseq, count := 2, 1
		nonce := "n1"
		round := func(method, next string) *ua.Message {
			w.Helper()
			m := w.bob.next(method)
			cseq, count = cseq+1, count+1
			same(w.T, m.Get("CSeq"), fmt.Sprintf("%d %s", cseq, method))
			same(w.T, w.proven(m, "Authorization", "secret"), fmt.Sprintf("%s %08x SHA-256", nonce, count))
			if next != "" {
				w.bob.respond(m, 401, "", wwwSHA[:len(wwwSHA)-3]+next+`"`, wwwMD5)
				nonce, count = next, 0
				if method == "INVITE" {
					w.bob.next("ACK")
				}
			}
			return m
		}
		for i, method := range []string{"INFO", "MESSAGE", "UPDATE", "REFER", "NOTIFY", "SUBSCRIBE"} {
			w.alice.request(method, "x", "Content-Type: text/x")
			round(method, fmt.Sprintf("m%d", i))
			m := round(method, "")
			same(w.T, string(m.Body), "x")
			w.bob.respond(m, 202, "")
			res := w.alice.next("202 " + method)
			same(w.T, res.Get("CSeq"), fmt.Sprintf("%d %s", w.alice.cseq, method))
			w.alice.nothing()
		}
		w.alice.reinvite()
		round("INVITE", "r1")
		w.bob.respond(round("INVITE", ""), 200, answer)
		w.alice.next("200 INVITE")
		w.alice.say(w.alice.build("ACK", w.alice.cseq, ""))
		same(w.T, w.bob.next("ACK").Get("CSeq"), fmt.Sprintf("%d ACK", cseq))
		w.obs.heard()

		w.agent.Probe(w.id, store.Callee, "OPTIONS", 5*time.Second)
		round("OPTIONS", "o1")
		w.heard()
		w.bob.respond(round("OPTIONS", ""), 200, "")
		w.heard("probe callee OPTIONS: answered 200 after 0s")

		w.release(store.End{Reason: store.Operator})
		w.alice.respond(w.plain(w.alice.next("BYE")), 200, "")
		round("BYE", "b1")
		bye := round("BYE", "")
		same(w.T, bye.Get("Reason"), `Q.850;cause=31;text="Released by operator"`)
		w.bob.respond(bye, 200, "")
		w.heard("ending operator", "ended operator confirmed/confirmed")
	})
}

func TestWrongCredentialsAreNotTriedAgain(t *testing.T) {
	for name, second := range map[string]string{"the same nonce": wwwSHA, "another nonce": otherSHA} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, withCredentials(t), func(w *world) {
				w.dial()
				w.bob.respond(w.invite, 401, "", wwwSHA)
				w.bob.next("ACK")
				w.take(w.bob)
				w.bob.respond(w.invite, 401, "", second)
				w.bob.next("ACK")
				m := w.alice.next("401 INVITE")
				same(w.T, "WWW-Authenticate: "+m.Get("WWW-Authenticate"), second)
				w.bob.nothing()
				w.heard("started", "ended callee-rejected(401) /")

				// What was refused is not sent ahead with the next request.
				w.alice.callID = "call-2@alice"
				w.dial()
				w.plain(w.invite)
			})
		})
	}
}

func TestAProbeThatIsRefusedWasAnswered(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		w.authorized()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", 5*time.Second)
		w.bob.respond(w.bob.next("OPTIONS"), 401, "", wwwSHA)
		w.heard("probe callee OPTIONS: answered 401 after 0s")
		w.bob.nothing()
	})
}

func TestAProbeTimesOutWhenItsChallengeIsAnsweredInVain(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		w.authorized()
		w.agent.Probe(w.id, store.Callee, "OPTIONS", 5*time.Second)
		m := w.bob.next("OPTIONS")
		pass(4 * time.Second)
		w.bob.all()
		w.bob.respond(m, 401, "", otherSHA)
		w.bob.next("OPTIONS")
		pass(999 * time.Millisecond)
		w.bob.all()
		w.heard()
		pass(time.Millisecond)
		w.heard("probe callee OPTIONS: timeout")
		pass(time.Minute)
		w.bob.nothing()
		w.heard()
	})
}

func TestAStaleNonceIsReplacedButNotForEver(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		w.authorized()
		w.alice.request("INFO", "")
		for i := range 4 {
			m := w.bob.next("INFO")
			same(w.T, m.Get("CSeq"), fmt.Sprintf("%d INFO", 3+i))
			w.proven(m, "Authorization", "secret")
			w.bob.respond(m, 401, "", stale)
		}
		w.bob.respond(w.bob.next("INFO"), 401, "", stale)
		w.alice.next("401 INFO")
		w.bob.nothing()
	})
}

func TestAProxyAndAServerMayBothAskForCredentials(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 407, "", proxySHA)
		w.bob.next("ACK")
		w.take(w.bob)
		w.bob.respond(w.invite, 401, "", wwwSHA)
		w.bob.next("ACK")
		w.take(w.bob)
		same(w.T, w.proven(w.invite, "Proxy-Authorization", "secret"), "p1 00000002 SHA-512-256")
		same(w.T, w.proven(w.invite, "Authorization", "secret"), "n1 00000001 SHA-256")
		same(w.T, w.invite.Get("CSeq"), "3 INVITE")
	})
}

func TestTheOtherLegsCredentialsForThatRealmGiveWay(t *testing.T) {
	const theirs, else_ = `Digest username="alice", realm="carrier", response="x"`, `Digest username="alice", realm="else", response="y"`
	inWorld(t, withCredentials(t), func(w *world) {
		w.dial("authorization: "+theirs, "Authorization: "+else_)
		same(w.T, fmt.Sprint(w.invite.All("Authorization")), "["+theirs+" "+else_+"]")
		w.bob.respond(w.invite, 401, "", wwwSHA)
		w.bob.next("ACK")
		w.take(w.bob)
		all := w.invite.All("Authorization")
		if len(all) != 2 || all[0] != else_ || !strings.Contains(all[1], `username="us"`) {
			w.Errorf("credentials: %q", all)
		}
		w.accept()
		w.alice.say(w.alice.build("ACK", 1, "", "Authorization: "+theirs, "Authorization: "+else_))
		if got := w.bob.next("ACK").All("Authorization"); fmt.Sprint(got) != fmt.Sprint(all) {
			w.Errorf("credentials of the ACK: %q", got)
		}
	})
}

func TestNoCredentialsLeaveOnAnotherLeg(t *testing.T) {
	inWorld(t, withCredentials(t), func(w *world) {
		w.authorized()
		w.agent.Probe(w.id, store.Caller, "OPTIONS", time.Second)
		m := w.plain(w.alice.next("OPTIONS"))
		w.alice.respond(m, 401, "", wwwSHA)
		w.heard("probe caller OPTIONS: answered 401 after 0s")
		w.bob.request("INFO", "")
		m = w.plain(w.alice.next("INFO"))
		w.alice.respond(m, 401, "", wwwSHA, wwwMD5)
		res := w.bob.next("401 INFO")
		same(w.T, "WWW-Authenticate: "+strings.Join(res.All("WWW-Authenticate"), "\nWWW-Authenticate: "), wwwSHA+"\n"+wwwMD5)
		w.alice.nothing()
		w.bob.request("INFO", "", `Authorization: Digest username="bob", uri="sip:x"`)
		same(w.T, w.alice.next("INFO").Get("Authorization"), `Digest username="bob", uri="sip:x"`)
	})
}

func TestAPasswordFileMayChange(t *testing.T) {
	var file string
	change := func(cfg *b2bua.Config) {
		withCredentials(t)(cfg)
		file = cfg.Trunks[0].Credentials.PasswordFile
	}
	inWorld(t, change, func(w *world) {
		w.authorized()
		if err := os.WriteFile(file, []byte("new\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.alice.request("INFO", "")
		m := w.bob.next("INFO")
		w.proven(m, "Authorization", "secret")
		w.bob.respond(m, 401, "", wwwSHA) // the nonce is as good as before
		m = w.bob.next("INFO")
		w.proven(m, "Authorization", "new")
		w.bob.respond(m, 200, "")
		w.alice.next("200 INFO")
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		w.alice.request("INFO", "")
		w.bob.respond(w.bob.next("INFO"), 401, "", otherSHA)
		w.alice.next("401 INFO")
		w.bob.nothing()
	})
}

func TestChallengesPassFromEndToEndWithoutCredentials(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		w.dial()
		w.bob.respond(w.invite, 407, "", proxySHA, `Proxy-Authenticate: Bearer realm="x"`, wwwMD5)
		res := w.alice.next("407 INVITE")
		same(w.T, strings.Join(res.All("Proxy-Authenticate"), "\n"), strings.TrimPrefix(proxySHA, "Proxy-Authenticate: ")+"\nBearer realm=\"x\"")
		same(w.T, "WWW-Authenticate: "+res.Get("WWW-Authenticate"), wwwMD5)
		w.alice.say(replaceBranch(w.alice.build("ACK", 1, ""), "alice-2", "alice-1"))
		w.bob.next("ACK")
		const one = `Digest username="a", realm="edge", uri="sip:bob@example.com", nc=00000001`
		const two = `Digest username="a", realm="carrier", uri="sip:bob@example.com"`
		w.dial("Proxy-Authorization: "+one, "Authorization: "+two, "Proxy-Authorization: Bearer abc")
		same(w.T, strings.Join(w.invite.All("Proxy-Authorization"), "\n")+w.invite.Get("Authorization"), one+"\nBearer abc"+two)
		same(w.T, w.invite.RequestURI, "sip:bob@127.0.0.1:5072")
	})
}
