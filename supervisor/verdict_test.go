package supervisor

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sipvigil/store"
)

func TestEachStatusHasItsVerdict(t *testing.T) {
	want := map[verdict][]int{
		gone:     {481},
		missed:   {408},
		refused:  {405, 501},
		looped:   {483},
		doubtful: {404, 410, 416, 482, 484, 485, 502, 604},
	}
	odd := make(map[int]bool)
	for v, codes := range want {
		for _, code := range codes {
			odd[code] = true
			if got := judge(store.Answer{Status: code}); got != v {
				t.Errorf("%d: verdict %d, want %d", code, got, v)
			}
		}
	}
	for code := 200; code < 700; code++ {
		if got := judge(store.Answer{Status: code}); !odd[code] && got != alive {
			t.Errorf("%d: verdict %d, want alive", code, got)
		}
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
				if len(w.legs.released) > 0 {
					end = w.legs.released[0]
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
