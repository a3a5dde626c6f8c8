package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

func TestListAsATable(t *testing.T) {
	f := &fakeCalls{calls: sample()}
	wantRun(t, run(t, serve(t, f), "calls", "--state", "terminated"), ran{Out: "" +
		"ID                                    STATUS         AGE     FROM         TO               EVIDENCE  IN   OUT     NODE\n" +
		"0198c0de-0000-7000-8000-000000000003  callee-silent  25m00s  +4930123456  carrier.example  12s/-     pbx  _other  edge-1\n"})
}

func TestListInOtherFormats(t *testing.T) {
	url := serve(t, &fakeCalls{calls: sample()[2:]})
	const jsonl = `{"id":"0198c0de-0000-7000-8000-000000000003","state":"terminated","liveness":"alive",` +
		`"started":"2026-03-01T11:00:00.000Z","answered":"2026-03-01T11:00:07.000Z","ended":"2026-03-01T11:25:00.000Z",` +
		`"node":"edge-1","trunk_in":"pbx","trunk_out":"_other","ended_by":"callee-silent","end_status":408,` +
		`"end_text":"no answer to 2 probes","caller":{"call_id":"a/3@phone","uri":"\"Ann <3\" <sip:+4930123456@pbx.example>",` +
		`"peer":"192.0.2.9:5060","target":"sip:ann@192.0.2.9","transport":"udp","user_agent":"phone/1","local_cseq":12,` +
		`"remote_cseq":2,"liveness":"alive","last_alive":"2026-03-01T11:24:48.000Z","last_evidence":"200 OPTIONS","misses":0,` +
		`"rtt_ms":12.3,"method":"OPTIONS","calibration":"discriminating","session_expires":1800,"refresher":"peer","held":"","released":"confirmed"},"callee":{"call_id":"b-3",` +
		`"uri":"<sip:carrier.example;user=phone>","peer":"198.51.100.7:5060","target":"sip:198.51.100.7","transport":"tcp",` +
		`"user_agent":"","local_cseq":3,"remote_cseq":0,"liveness":"alive","last_evidence":"200 OPTIONS","misses":0,` +
		`"rtt_ms":12.3,"method":"OPTIONS","calibration":"discriminating","held":"","released":"unconfirmed"}}` + "\n"
	wantRun(t, run(t, url, "calls", "list", "-o", "jsonl"), ran{Out: jsonl})

	const csv = "id,state,liveness,started,answered,ended,node,trunk_in,trunk_out,ended_by,end_status,end_text," +
		"caller_call_id,caller_uri,caller_peer,caller_target,caller_transport,caller_user_agent,caller_local_cseq," +
		"caller_remote_cseq,caller_liveness,caller_last_alive,caller_last_evidence,caller_misses,caller_rtt_ms,caller_method," +
		"caller_calibration,caller_session_expires,caller_refresher,caller_held,caller_released," +
		"callee_call_id,callee_uri,callee_peer,callee_target,callee_transport,callee_user_agent,callee_local_cseq," +
		"callee_remote_cseq,callee_liveness,callee_last_alive,callee_last_evidence,callee_misses,callee_rtt_ms,callee_method," +
		"callee_calibration,callee_session_expires,callee_refresher,callee_held,callee_released\n" +
		"0198c0de-0000-7000-8000-000000000003,terminated,alive,2026-03-01T11:00:00.000Z,2026-03-01T11:00:07.000Z," +
		"2026-03-01T11:25:00.000Z,edge-1,pbx,_other,callee-silent,408,no answer to 2 probes," +
		"a/3@phone,\"\"\"Ann <3\"\" <sip:+4930123456@pbx.example>\",192.0.2.9:5060,sip:ann@192.0.2.9,udp,phone/1,12,2,alive," +
		"2026-03-01T11:24:48.000Z,200 OPTIONS,0,12.3,OPTIONS,discriminating,1800,peer,,confirmed," +
		"b-3,<sip:carrier.example;user=phone>,198.51.100.7:5060,sip:198.51.100.7,tcp,,3,0,alive,,200 OPTIONS,0,12.3,OPTIONS," +
		"discriminating,0,,,unconfirmed\n"
	wantRun(t, run(t, url, "calls", "-o", "csv"), ran{Out: csv})

	got := run(t, url, "calls", "-o", "json")
	if !strings.HasPrefix(got.Out, "{\n  \"calls\": [\n    {\n      \"id\": \"0198c0de-") || !strings.Contains(got.Out, "<sip:+4930") {
		t.Errorf("json is %s", got.Out)
	}
}

func TestEmptyListIsAListToo(t *testing.T) {
	url := serve(t, &fakeCalls{})
	wantRun(t, run(t, url, "calls"), ran{Out: "ID  STATUS  AGE  FROM  TO  EVIDENCE  IN  OUT  NODE\n"})
	wantRun(t, run(t, url, "calls", "-o", "json"), ran{Out: "{\n  \"calls\": []\n}\n"})
	wantRun(t, run(t, url, "calls", "-o", "jsonl"), ran{})
}

func TestListFollowsItsPages(t *testing.T) {
	f := &fakeCalls{}
	for i := range 1234 {
		f.calls = append(f.calls, store.Call{ID: fmt.Sprintf("id-%04d", i), State: store.Early})
	}
	url := serve(t, f)
	lines := func(args ...string) (int, string) {
		t.Helper()
		got := run(t, url, append([]string{"calls", "-o", "jsonl"}, args...)...)
		return strings.Count(got.Out, "\n"), got.Errors
	}
	if n, errs := lines(); n != 1234 || errs != "" {
		t.Errorf("all: %d calls, %q", n, errs)
	}
	if n, errs := lines("--limit", "1100"); n != 1100 || errs != "sipvigil: there are more than these 1100 calls\n" {
		t.Errorf("1100: %d calls, %q", n, errs)
	}
	var limits []int
	for _, q := range f.queries {
		limits = append(limits, q.Limit)
	}
	if d := cmp.Diff([]int{1000, 1000, 1000, 100}, limits); d != "" {
		t.Errorf("limits (-want +got):\n%s", d)
	}
}

func TestListPassesItsFilters(t *testing.T) {
	f := &fakeCalls{}
	got := run(t, serve(t, f), "calls", "--state", "confirmed", "--liveness", "silent", "--trunk", "pbx", "--number", "+1&x=y",
		"--node", "edge-1", "--older", "90m", "--limit", "5")
	if got.Code != 0 {
		t.Fatal(got)
	}
	want := []store.Query{{
		State: store.Confirmed, Liveness: store.Silent, Trunk: "pbx", Number: "+1&x=y", Node: "edge-1", Older: 90 * time.Minute, Limit: 5,
	}}
	if d := cmp.Diff(want, f.queries); d != "" {
		t.Errorf("queries (-want +got):\n%s", d)
	}
	wantRun(t, run(t, serve(t, f), "calls", "--state", "up", "--older", "old"), ran{Code: 2, Errors: "sipvigil: " +
		`state: "up" is none of trying, early, confirmed, ending, terminated; ` +
		`older: "old" is not a length of time such as 90s, 15m or 2h` + "\n"})
}

func TestListThatIsNotWholeSaysSo(t *testing.T) {
	got := run(t, serve(t, &fakeCalls{calls: sample()[:1], down: true}), "calls", "-o", "jsonl")
	if got.Code != 0 || got.Errors != "sipvigil: the store or a node cannot be reached: calls of other nodes are missing\n" {
		t.Errorf("got %+v", got)
	}
}

func TestHangupNamesACallByEitherID(t *testing.T) {
	f := &fakeCalls{calls: sample()}
	url := serve(t, f)
	wantRun(t, run(t, url, "calls", "hangup", "a/1@phone", "--reason", "stuck & old"),
		ran{Out: "Call 0198c0de-0000-7000-8000-000000000001 is being ended.\n"})
	wantRun(t, run(t, url, "calls", "hangup", f.calls[1].ID, "-o", "jsonl"),
		ran{Out: `{"id":"0198c0de-0000-7000-8000-000000000002"}` + "\n"})
	want := []string{f.calls[0].ID + ": stuck & old", f.calls[1].ID + ": "}
	if d := cmp.Diff(want, f.hungUp); d != "" {
		t.Errorf("hung up (-want +got):\n%s", d)
	}
	wantRun(t, run(t, url, "calls", "hangup", "nobody"),
		ran{Code: 1, Errors: "sipvigil: " + url + ": no call has this id or Call-ID, or it ended a while ago\n"})
	wantRun(t, run(t, url, "calls", "hangup", f.calls[2].ID),
		ran{Code: 1, Errors: "sipvigil: " + url + ": call " + f.calls[2].ID + " is terminated already, ended by callee-silent\n"})
}

func TestReleaseSaysHowManyCallsEnd(t *testing.T) {
	for held, want := range map[int]string{
		0:  "No call is held.\n",
		1:  "1 held call ends now, unless it answers meanwhile.\n",
		12: "12 held calls end now, one after the other, unless they answer meanwhile.\n",
	} {
		wantRun(t, run(t, serve(t, &fakeCalls{held: held}), "calls", "release"), ran{Out: want})
	}
	wantRun(t, run(t, serve(t, &fakeCalls{held: 12}), "calls", "release", "-o", "csv"), ran{Out: "calls\n12\n"})
}

func TestProbeExitsByWhatTheLegsAnswered(t *testing.T) {
	ok := store.Answer{Kind: store.Answered, Method: "OPTIONS", Status: 200, RTT: 1500 * time.Microsecond}
	gone := store.Answer{Kind: store.Answered, Method: "OPTIONS", Status: 481, RTT: 2 * time.Millisecond}
	test := func(callee store.Answer, want ran, format ...string) {
		t.Helper()
		f := &fakeCalls{calls: sample(), answers: [2]store.Answer{ok, callee}}
		wantRun(t, run(t, serve(t, f), append([]string{"calls", "probe", f.calls[0].ID}, format...)...), want)
	}
	const head = "LEG     ANSWER   METHOD   RTT\ncaller  200      OPTIONS  1.5 ms\n"
	test(ok, ran{Out: "LEG     ANSWER  METHOD   RTT\ncaller  200     OPTIONS  1.5 ms\ncallee  200     OPTIONS  1.5 ms\n"})
	test(gone, ran{
		Code: 1, Errors: "sipvigil: the callee answered 481\n",
		Out: "LEG     ANSWER  METHOD   RTT\ncaller  200     OPTIONS  1.5 ms\ncallee  481     OPTIONS  2.0 ms\n",
	})
	test(store.Answer{Kind: store.Timeout, Method: "OPTIONS"},
		ran{Code: 3, Errors: "sipvigil: no answer of the callee: timeout\n", Out: head + "callee  timeout  OPTIONS  -\n"})
	test(store.Answer{Kind: store.Unsent, Reason: "refused"},
		ran{Code: 3, Errors: "sipvigil: no answer of the callee: unsent\n", Out: "leg,kind,method,status,reason,rtt_ms,at\n" +
			"caller,answered,OPTIONS,200,,1.5,\ncallee,unsent,,0,refused,0,\n"}, "-o", "csv")
}

func TestServersThatCannotHelpAreNamed(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	url := s.URL
	wantRun(t, run(t, url, "calls"), ran{Code: 2, Errors: "" +
		"sipvigil: what answers at " + url + " is not sipvigil's API: 404 Not Found, \"text/plain\"\n" +
		"sipvigil: name another place with --server or SIPVIGIL_SERVER\n"})
	s.Close()
	addr := strings.TrimPrefix(url, "http://")
	want := ran{Code: 2, Errors: "" +
		"sipvigil: no answer from " + url + ": dial tcp " + addr + ": connect: connection refused\n" +
		"sipvigil: is sipvigil serve running there? name another place with --server or SIPVIGIL_SERVER\n"}
	wantRun(t, run(t, "", "calls", "--server", url), want)
	wantRun(t, run(t, url, "calls", "probe", "x"), want)
}
