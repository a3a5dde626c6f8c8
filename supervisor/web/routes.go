package web

import (
	"fmt"
	"log"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"sipvigil/store"
)

// route is one thing that can be asked for. What is below /api/v1 is described
// in openapi.json, which a test compares with this.
type route struct {
	method string
	path   string
	role   Role // who may
	serve  http.HandlerFunc
	passed bool // other nodes may have it done here, for their users
}

// routes are all of them.
func (s *Server) routes(gatherer prometheus.Gatherer) []route {
	const get, put, post, del = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete
	return []route{
		{get, "/api/v1/calls", Viewer, s.listCalls, true},
		{get, "/api/v1/calls/{id}", Viewer, bare(s.showCall), true},
		{del, "/api/v1/calls/{id}", Operator, s.hangupCall, true},
		{get, "/api/v1/calls/{id}/events", Viewer, bare(s.listEvents), true},
		{post, "/api/v1/calls/{id}/probe", Operator, bare(s.probeCall), true},
		{post, "/api/v1/calls/hangup", Operator, bare(s.hangupCalls), false},
		{get, "/api/v1/batches", Viewer, bare(s.listBatches), true},
		{get, "/api/v1/batches/{id}", Viewer, bare(s.showBatch), true},
		{del, "/api/v1/batches/{id}", Operator, bare(s.stopBatch), true},
		{post, "/api/v1/brake/release", Operator, s.releaseHeld, true},
		{get, "/api/v1/cdrs", Viewer, s.listCDRs, false},
		{get, "/api/v1/nodes", Viewer, bare(s.listNodes), false},
		{get, "/api/v1/nodes/{name}/maintenance", Viewer, bare(s.showMaintenance(store.ScopeNode)), false},
		{put, "/api/v1/nodes/{name}/maintenance", Admin, bare(s.setMaintenance(store.ScopeNode)), false},
		{get, "/api/v1/trunks", Viewer, bare(s.listTrunks), true},
		{get, "/api/v1/trunks/{name}/maintenance", Viewer, bare(s.showMaintenance(store.ScopeTrunk)), false},
		{put, "/api/v1/trunks/{name}/maintenance", Admin, bare(s.setMaintenance(store.ScopeTrunk)), false},
		{get, "/api/v1/progress", Viewer, bare(s.listProgress), false},
		{post, "/api/v1/ping", Operator, bare(s.ping), false},
		{get, "/api/v1/me", Viewer, bare(s.showMe), false},
		{get, "/api/v1/table", Viewer, s.table, false},
		{get, "/api/v1/overview", Viewer, bare(s.showOverview), false},
		{get, "/api/v1/events", Viewer, bare(s.streamEvents), false},
		{get, "/api/openapi.json", Viewer, bare(s.describe), false},

		{get, "/metrics", Viewer, metrics(gatherer, log.New(s.trouble, "", 0)), false},
		{get, "/livez", Anybody, s.livez, false},
		{get, "/readyz", Anybody, s.readyz, false},

		{get, "/{$}", Viewer, file("page.html"), false},
		{get, "/page.js", Viewer, file("page.js"), false},
		{get, "/page.css", Viewer, file("page.css"), false},
		{get, "/icon.svg", Viewer, file("icon.svg"), false},
		{get, "/licences.txt", Viewer, file("licences.txt"), false},
	}
}

// bare refuses parameters: a misspelt one would be overlooked.
func bare(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if faults := parseParams(r.URL.RawQuery).done(); len(faults) > 0 {
			problem(w, http.StatusBadRequest, strings.Join(faults, "; "))
			return
		}
		serve(w, r)
	}
}

// mux leads requests to their routes. A known path with another method is
// answered 405, an unknown one 404.
func (s *Server) mux(routes []route) http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes {
		mux.Handle(r.method+" "+r.path, s.admit(r))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		var allow []string
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
			other := *r
			other.Method = method
			if _, pattern := mux.Handler(&other); pattern != "/" {
				allow = append(allow, method)
			}
		}
		if len(allow) == 0 {
			problem(w, http.StatusNotFound, "there is nothing at this path")
			return
		}
		list := strings.Join(allow, ", ")
		w.Header().Set("Allow", list)
		problem(w, http.StatusMethodNotAllowed, fmt.Sprintf("%s is not possible here, only %s", r.Method, list))
	})
	return mux
}
