package supervisor

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

// rfc5057 is table 2 of RFC 5057 section 5.1: what a response does to the
// dialog. What is not listed concerns the transaction only.
var rfc5057 = map[impact][]int{
	onTransaction: {400, 401, 402, 403, 406, 407, 412, 413, 414, 415, 417, 420, 421, 422, 423, 428, 429, 436, 437, 438,
		486, 487, 488, 491, 493, 494, 500, 503, 504, 505, 513, 580, 600, 603, 606},
	onUsage:  {405, 408, 480, 481, 489, 501}, // 408 as the time-out that it stands for, section 5.2
	onDialog: {404, 410, 416, 482, 483, 484, 485, 502, 604},
}

func TestEachStatusHasTheImpactOfRFC5057(t *testing.T) {
	for want, codes := range rfc5057 {
		for _, code := range codes {
			if got := byStatus[code].impact; got != want {
				t.Errorf("%d: impact %d, want %d", code, got, want)
			}
		}
	}
	for code, row := range byStatus {
		if !slices.Contains(rfc5057[row.impact], code) {
			t.Errorf("%d: impact %d is not that of the table", code, row.impact)
		}
	}
}

func TestEachStatusHasItsVerdict(t *testing.T) {
	type verdicts map[verdict][]int
	dialog := []int{404, 410, 416, 482, 484, 485, 502, 604}
	tests := []struct {
		policy Policy
		method string
		want   verdicts
	}{
		{RFC3261, "OPTIONS", verdicts{gone: {481}, missed: {408}, refused: {405, 501}, looped: {483}, doubtful: dialog}},
		{RFC3261, "UPDATE", verdicts{gone: {481}, missed: {408}, refused: {405, 501}, looped: {483}, doubtful: dialog}},
		{RFC5057, "OPTIONS", verdicts{moot: {481, 408}, refused: {405, 501}, looped: {483}, doubtful: dialog}},
		{RFC5057, "UPDATE", verdicts{gone: {481}, missed: {408}, refused: {405, 501}, looped: {483},
			doubtful: append([]int{480}, dialog...)}},
	}
	for _, test := range tests {
		odd := make(map[int]verdict)
		for v, codes := range test.want {
			for _, code := range codes {
				odd[code] = v
			}
		}
		for code := 200; code < 700; code++ { // what is not listed is alive
			if got := test.policy.judge(store.Answer{Method: test.method, Status: code}); got != odd[code] {
				t.Errorf("%s, %d to %s: verdict %d, want %d", test.policy, code, test.method, got, odd[code])
			}
		}
	}
}

func TestSilenceIsJudgedByThePolicy(t *testing.T) {
	test := func(p Policy, method string, kind store.AnswerKind, want verdict) {
		t.Helper()
		if got := p.judge(store.Answer{Method: method, Kind: kind}); got != want {
			t.Errorf("%s, %s, kind %d: verdict %d, want %d", p, method, kind, got, want)
		}
	}
	for _, kind := range []store.AnswerKind{store.Timeout, store.Unsent} {
		test(RFC3261, "OPTIONS", kind, missed)
		test(RFC3261, "UPDATE", kind, missed)
		test(RFC5057, "OPTIONS", kind, moot)
		test(RFC5057, "UPDATE", kind, missed)
		test(RFC5057, "INVITE", kind, missed)
	}
	for _, p := range []Policy{RFC3261, RFC5057} {
		test(p, "OPTIONS", store.Deferred, deferred)
		test(p, "OPTIONS", store.NoCall, noCall)
	}
}

func TestByRFC5057OptionsNeverEndsACall(t *testing.T) {
	for _, r := range []reply{nothing(), unsent(), status(481), status(408)} {
		inWorld(t, func(c *Config) { c.Policy = RFC5057 }, func(t *testing.T, w *world) {
			w.legs.says(store.Callee, inTurn(status(200), r))
			w.call("c")
			sleep(10 * time.Minute)
			if len(w.legs.ends()) > 0 {
				t.Errorf("%+v: released: %v", r, w.legs.ends())
			}
			if got := w.health("c", store.Callee); got.Liveness != store.Suspect {
				t.Errorf("%+v: liveness %s, want suspect", r, got.Liveness)
			}
		})
	}
}

func TestEachAnswerHasItsConsequence(t *testing.T) {
	const s = time.Second
	// Probes of a leg go out at 4.5 s, then 30 s after the last sign of life. A
	// re-probe comes 160 ms after the end of what it repeats.
	tests := []struct {
		name    string
		replies []reply // after a first 200
		asked   []time.Duration
		end     store.End // its reason is empty while the call goes on
		health  store.Health
	}{
		{
			name:    "200 is life",
			replies: []reply{status(200)},
			asked:   []time.Duration{34510, 64520, 94530},
			health:  store.Health{Liveness: store.Alive, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "401 is life",
			replies: []reply{status(401)},
			asked:   []time.Duration{34510, 64520, 94530},
			health:  store.Health{Liveness: store.Alive, LastEvidence: "401 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "500 is life",
			replies: []reply{status(500)},
			asked:   []time.Duration{34510, 64520, 94530},
			health:  store.Health{Liveness: store.Alive, LastEvidence: "500 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "503 is life",
			replies: []reply{status(503)},
			asked:   []time.Duration{34510, 64520, 94530},
			health:  store.Health{Liveness: store.Alive, LastEvidence: "503 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "481 is the end at once",
			replies: []reply{status(481)},
			asked:   []time.Duration{34510},
			end:     store.End{Reason: "callee-gone", Status: 481, Text: "481 OPTIONS"},
			health:  store.Health{Liveness: store.Gone, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "404 is the end when it is repeated",
			replies: []reply{status(404)},
			asked:   []time.Duration{34510, 34680},
			end:     store.End{Reason: "callee-gone", Status: 404, Text: "404 OPTIONS"},
			health:  store.Health{Liveness: store.Gone, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "404 and then 502 are the end",
			replies: []reply{status(404), status(502)},
			asked:   []time.Duration{34510, 34680},
			end:     store.End{Reason: "callee-gone", Status: 502, Text: "502 OPTIONS"},
			health:  store.Health{Liveness: store.Gone, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "404 that is not repeated is nothing",
			replies: []reply{status(404), status(200)},
			asked:   []time.Duration{34510, 34680, 64690, 94700},
			health:  store.Health{Liveness: store.Alive, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "404 counts afresh after a sign of life",
			replies: []reply{status(404), status(200), status(404), status(200)},
			asked:   []time.Duration{34510, 34680, 64690, 64860, 94870},
			health:  store.Health{Liveness: store.Alive, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "483 is the end at the third time",
			replies: []reply{status(483)},
			asked:   []time.Duration{34510, 34680, 34850},
			end:     store.End{Reason: "callee-gone", Status: 483, Text: "483 OPTIONS"},
			health:  store.Health{Liveness: store.Gone, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "483 confirms a 404",
			replies: []reply{status(404), status(483)},
			asked:   []time.Duration{34510, 34680},
			end:     store.End{Reason: "callee-gone", Status: 483, Text: "483 OPTIONS"},
			health:  store.Health{Liveness: store.Gone, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "404 is an answer: what comes to nothing before and after it are not two in a row",
			replies: []reply{nothing(), status(404), nothing(), status(200)},
			asked:   []time.Duration{34510, 66670, 66840, 99000},
			health:  store.Health{Liveness: store.Alive, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "no answer twice is silence",
			replies: []reply{nothing()},
			asked:   []time.Duration{34510, 66670},
			end:     store.End{Reason: "callee-silent", Status: 408, Text: "2 probes missed, the last: no answer to OPTIONS"},
			health:  store.Health{Liveness: store.Silent, LastEvidence: "200 OPTIONS", Misses: 2, Method: "OPTIONS", Answers: true},
		}, {
			name:    "no answer once is nothing",
			replies: []reply{nothing(), status(200)},
			asked:   []time.Duration{34510, 66670, 96680},
			health:  store.Health{Liveness: store.Alive, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "408 is no answer, and is not taken for a whole wait",
			replies: []reply{status(408)},
			asked:   []time.Duration{34510, 66670},
			end:     store.End{Reason: "callee-silent", Status: 408, Text: "2 probes missed, the last: 408 OPTIONS"},
			health:  store.Health{Liveness: store.Silent, LastEvidence: "200 OPTIONS", Misses: 2, Method: "OPTIONS", Answers: true},
		}, {
			name:    "what cannot be sent is not answered",
			replies: []reply{unsent()},
			asked:   []time.Duration{34510, 66670},
			end:     store.End{Reason: "callee-silent", Status: 408, Text: "2 probes missed, the last: OPTIONS not sent: no route"},
			health:  store.Health{Liveness: store.Silent, LastEvidence: "200 OPTIONS", Misses: 2, Method: "OPTIONS", Answers: true},
		}, {
			name:    "405 ends the probes, not the call",
			replies: []reply{status(405)},
			asked:   []time.Duration{34510},
			health:  store.Health{Liveness: store.Unsupported, LastEvidence: "405 OPTIONS"},
		}, {
			name:    "501 ends the probes, not the call",
			replies: []reply{status(501)},
			asked:   []time.Duration{34510},
			health:  store.Health{Liveness: store.Unsupported, LastEvidence: "501 OPTIONS"},
		}, {
			name:    "deferred is asked again soon and counts as nothing",
			replies: []reply{{Answer: store.Answer{Kind: store.Deferred}}, {Answer: store.Answer{Kind: store.Deferred}}, status(200)},
			asked:   []time.Duration{34510, 35510, 36510, 66520, 96530},
			health:  store.Health{Liveness: store.Alive, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		}, {
			name:    "a leg nobody knows is left alone",
			replies: []reply{{Answer: store.Answer{Kind: store.NoCall}}},
			asked:   []time.Duration{34510},
			health:  store.Health{Liveness: store.Alive, LastEvidence: "200 OPTIONS", Method: "OPTIONS", Answers: true},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, nil, func(t *testing.T, w *world) {
				w.legs.says(store.Callee, inTurn(append([]reply{status(200)}, test.replies...)...))
				w.call("c")
				sleep(100 * s)
				want := []time.Duration{4500 * time.Millisecond}
				for _, ms := range test.asked {
					want = append(want, ms*time.Millisecond)
				}
				if diff := cmp.Diff(want, w.legs.times("c", store.Callee)); diff != "" {
					t.Error("asked at:", diff)
				}
				var end store.End
				if len(w.legs.ends()) > 0 {
					end = w.legs.ends()[0]
				}
				end.At = time.Time{}
				if diff := cmp.Diff(test.end, end); diff != "" {
					t.Error("end:", diff)
				}
				got := w.health("c", store.Callee)
				got.LastAlive, got.RTT = time.Time{}, 0
				if diff := cmp.Diff(test.health, got); diff != "" {
					t.Error("health:", diff)
				}
			})
		})
	}
}
