package web

import (
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"sipvigil/store"
	"sipvigil/supervisor/links"
)

func TestTrunksAndTheirAddresses(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	cfg := Config{Listen: "127.0.0.1:8080", Probe: time.Minute, Trunks: func() []links.Health {
		return []links.Health{
			{Name: "carrier", Preset: "teams", Probe: links.Options, State: links.Partial, Since: at, Addresses: []links.Address{
				{Target: "sip:carrier.example", Place: links.Place{Transport: "udp", Addr: netip.MustParseAddrPort("192.0.2.1:5060")},
					State: links.Up, Since: at, RTT: 12345 * time.Microsecond, Last: "200 OK to OPTIONS", LastAt: at.Add(time.Second), Next: at.Add(time.Minute)},
				{Target: "sip:nowhere.example", State: links.Down, Use: links.UseNever, Last: "no such name"},
			}},
			{Name: "pbx", Probe: links.None, State: links.Unknown},
		}
	}}
	s, err := New(cfg, &fakeCalls{}, func() store.Status { return store.Status{} }, func() []string { return nil },
		prometheus.NewRegistry(), zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequest("GET", "http://127.0.0.1:8080/api/v1/trunks", nil))
	want := `{"trunks":[{"name":"carrier","state":"partial","since":"2026-03-01T12:00:00.000Z","preset":"teams","probe":"options","addresses":[` +
		`{"target":"sip:carrier.example","transport":"udp","address":"192.0.2.1:5060","state":"up","use":"first","since":"2026-03-01T12:00:00.000Z",` +
		`"rtt_ms":12.345,"last":"200 OK to OPTIONS","last_at":"2026-03-01T12:00:01.000Z","next":"2026-03-01T12:01:00.000Z"},` +
		`{"target":"sip:nowhere.example","transport":"","address":"","state":"down","use":"never","rtt_ms":0,"last":"no such name"}]},` +
		`{"name":"pbx","state":"unknown","preset":"","probe":"none","addresses":[]}]}` + "\n"
	if w.Code != 200 || w.Body.String() != want {
		t.Errorf("got %d %s\nwant %s", w.Code, w.Body, want)
	}
}
